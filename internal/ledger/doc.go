// Package ledger counts, for each host and hour, what came and what became of it:
// frames received, events accepted (by kind and by flag of the verdict), events
// dropped and ignored (by reason), connections that we closed, signs that events are
// missing, and how far the host is behind. It keeps the hours in a Pebble store of its
// own, and the newest dropped frames in a quarantine in memory.
//
// The ledger is what this process saw. It is not derived from the log, and cannot be
// rebuilt from it: most of what it counts never enters the log. A process that is
// killed loses what it counted since the last minute's write.
//
// # The store
//
//	key    hour (8 bytes, big-endian: hours since 1970) · hostname
//	value  see codec.go
//
// # Invariants
//
//   - A hook costs one lock of its host and no allocation, apart from the first of its
//     kind in an hour.
//   - A host of which nothing was counted in an hour has no row, in memory or on disk.
//   - Names come from code, not from hosts: reasons are bounded (maxReasons), and what
//     is beyond is counted as "other". Series of /metrics are bounded (maxNamed).
//   - A stored row is written whole, never added to: writing it again after a failure
//     counts nothing twice.
//   - Nothing that happens to the disk stops a start or a hook. While the store cannot
//     be written, rows wait in memory, bounded; the oldest hours go first, counted.
//
// It decides nothing about events.
package ledger
