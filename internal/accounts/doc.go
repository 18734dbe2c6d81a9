// Package accounts says what the log knows of each account: its status as its host
// gives it and as we set it, the host that speaks for it, the state of its repo, and
// for each host the last event that is in the log (its mark).
//
// The state is derived from the log alone: a record's Change, applied in log order.
// The index has it up to the index's watermark; the Table is what lies in front: the
// accounts that were used lately, and every account with a record above the
// watermark.
//
//	record ──Change──► Table (memory, at once) ──► decisions about the next event
//	   └────Change───► index (disk, once durable) ──► the Table's misses
//
// It decides nothing. An operator's decisions are not in it but for the #account
// events they left in the log.
//
// Invariants: whoever decides about an account's event holds the account (Acquire)
// from reading its state until the event is in the log and applied, so that two
// hosts never interleave on one account; Get never waits for such a holder; an
// account is forgotten only when the index has all of it.
package accounts
