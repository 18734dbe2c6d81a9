// Package accounts holds in memory what the log knows of each account: its status
// as its host gives it and as we set it, the host that speaks for it, the state of
// its repo, and for each host the highest event that is in the log (its mark).
//
// It decides nothing and stores nothing: the table is derived from the log alone,
// by applying each record's Change in log order, live or after a restart. An
// operator's decisions are not in it but for the #account events they left in the
// log.
//
// Invariants: whoever decides about an account's event holds the account (Acquire)
// from reading its state until the event is in the log and applied, so that two
// hosts never interleave on one account; Get never waits for such a holder; a mark
// never goes back.
package accounts
