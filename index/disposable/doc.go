// Package disposable opens a Pebble store that is a cache: deleting its directory
// loses nothing but the time to fill it again, and nothing that goes wrong with it
// may harm what it is a cache of.
//
// It is written without a write-ahead log and without sync: after an unclean stop
// the newest batches are missing, whole and from the end.
//
// Invariants:
//
//   - A store that is damaged, or that its owner does not accept, is emptied when it
//     is opened, or set aside, with a line in the log that says why (Open,
//     Store.Discarded).
//   - What goes wrong later never ends the process, though Pebble by itself would end
//     it (pebbleLog), and never keeps a caller waiting for longer than its context:
//     a full disk is waited out in the background (patientFS), damage ends the store
//     (Store.Err).
//   - What is only in memory is bounded: one flush waits for the disk at a time.
//
// It knows no keys and no values, and has no goroutine but Pebble's and, while it
// dies, one to close it.
package disposable
