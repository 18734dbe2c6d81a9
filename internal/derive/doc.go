// Package derive keeps the index in step with the log: it follows the log from the
// index's watermark on and writes what the records change.
//
//	log, after the watermark ──chunks──► decode and fold, in parallel ──in order──► index.Batch + watermark
//
// It is the only writer of what the index derives, at a start, after the index was
// deleted, and live, and reads nothing but durable records; so the index is a function
// of a prefix of the log. A record whose frame cannot be read still counts for its
// mark and floor.
//
// It is not the live state of accounts, which is ahead of it by what is not yet
// durable or not yet followed: see package accounts.
package derive
