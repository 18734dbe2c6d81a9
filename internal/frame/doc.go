// Package frame reads and splices the frames of com.atproto.sync.subscribeRepos:
// one WebSocket message that holds two DAG-CBOR items, a header {t, op} and a
// payload.
//
// It finds where the value of `seq` stands, so that a relay can put its own number
// there and leave every other byte as the upstream signed and sent it. What strict
// clients could not decode is encoded again, repaired or refused: rows T2 to T8 of
// docs/verification.md. An envelope's links are all CIDv1 with SHA-256 and its
// integers within ±(2^53-1), unknown fields included, because some clients throw at
// anything else and reconnect at the same cursor for ever.
//
// It is not a verifier: CAR files, commits and signatures belong to package verify,
// and it has no memory: what depends on the frame before belongs to package ingest.
//
// Invariants: input bytes are never trusted (no panic, no allocation that was not
// validated first, time linear in the frame but for one sort); a frame that leaves
// this package is canonical DAG-CBOR; a frame that had to be re-encoded says so;
// unknown fields survive.
package frame
