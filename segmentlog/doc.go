// Package segmentlog is Cistern's log: one ordered sequence of verified events,
// kept in files that prove their own integrity.
//
// A record is one CBOR array (record.go, docs/format/record.md). Records are
// appended to a hot file with group commit:
//
//	<epoch>-<first_seq>.cbor
//	┌────────┬──────┬──────┬────────┬────────┬──────┬────────┬─ ─ ─┬──────┐
//	│ header │ mark │ mark │ record │ record │ mark │ record │      │ mark │
//	└────────┴──────┴──────┴────────┴────────┴──────┴────────┴─ ─ ─┴──────┘
//	 └─ creation ─┘ └────── one write ──────┘ └─ one write ─┘       closing
//
// A mark says how much of the file was known to be durable before the write that
// it begins. After a crash a bad item above the highest mark is a torn write and
// is cut; a bad item below it is damage to bytes that were durable, and the log
// refuses to open (CorruptError).
//
// Sequence numbers are reserved ahead in a synced file and never used twice. An
// event is handed to Options.OnCommit, and visible to a Reader, only after the
// fsync that covers it returned.
//
// This package is not a verifier and not a server: it keeps what it is given. It
// has no index on disk; what it needs to find a seq it learns from the files.
//
// Invariants:
//   - No reader passes the durable offset.
//   - After a failed fsync, or a failed write other than ENOSPC, nothing is
//     written or synced again and the log reports failure (Log.Failed).
//   - A name never names two contents; only the newest hot file may be torn.
package segmentlog
