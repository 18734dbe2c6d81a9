// Package replay serves the log to consumers: com.atproto.sync.subscribeRepos from
// any cursor, over one reader that walks all tiers.
//
//	            ┌───────── Reader ─────────┐
//	hot files ──┤ position (a seq)         ├──► WebSocket, large writes
//	ring ───────┤ from wherever it is      │
//	            └──────────────────────────┘
//
// A consumer is a position and a socket. There is no moment of catching up and no
// queue a consumer: a Reader whose position the ring holds reads memory, another
// one reads the files, and who is lapped falls back to them.
//
// The package does not verify, does not sequence and does not know accounts. It
// does not import anything internal: it is a library.
//
// Invariants:
//   - What a Reader returns is exactly the log after its position, in order.
//   - Nothing is served before its fsync: the ring is filled by the log's commits.
//   - One goroutine writes to a socket, control frames stand only between frames.
package replay
