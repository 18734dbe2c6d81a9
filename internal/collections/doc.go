// Package collections fills in what the log does not say about which account has records of
// which collection. Commits say it as they come, and the index notes that by itself. What
// was in a repo before the log began, or came with a #sync, is asked of the account's host
// (Refresher) or of another relay (Backfill).
package collections
