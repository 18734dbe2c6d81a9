// Package frame reads and splices the frames of com.atproto.sync.subscribeRepos:
// one WebSocket message that holds two DAG-CBOR items, a header {t, op} and a
// payload.
//
// It finds where the value of `seq` stands, so that a relay can put its own number
// there and leave every other byte as the upstream signed and sent it. It is not
// a verifier: CAR files, commits and signatures belong to package verify.
//
// Invariants: input bytes are never trusted (no panic, no allocation that was not
// validated first); a frame that leaves this package is canonical DAG-CBOR; a
// frame that had to be re-encoded says so.
package frame
