// Package ship keeps an archive: it decides who may write the log (Attach, the lease),
// takes sealed segments to the bucket (Shipper) and says what the bucket holds
// (ReadInventory).
//
//	stream.json                      identity and epochs
//	lease.json                       who writes
//	segments/2026/11/27/<name>       by the date of the first record, UTC
//	catalog/2026-11-27.jsonl         one line a segment of that date
//
// Segments are the truth: what a catalog lacks is found by listing them. A segment is of
// the log if stream.json keeps its epoch up to its last seq (segmentlog.Stream.Keeps),
// so that what a writer adds after it was overtaken changes nothing.
//
// Invariants:
//   - A segment is shipped after the one before it, and counts as shipped once the store
//     confirmed length and SHA-256 and the catalog names it.
//   - The lease is read before each segment is sent; who lost it never ships again.
//   - No number is reserved above the lease's, and a new epoch begins above it.
//
// It does not evict, does not serve, and knows no relay.
package ship
