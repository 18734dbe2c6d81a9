// Package verify decides whether an event may enter the log: the rules of
// docs/verification.md that can be checked from the frame, the account's key and
// the account's stored state alone.
//
// It does no input or output, keeps no state and knows no hosts; identity, host
// authority and account status are checked by package ingest, which calls this
// one.
//
// Invariants: no input makes it panic; time and memory are linear in the frame's
// bytes (each CAR block is hashed once and each MST node loaded at most once);
// whatever is rejected names its row and a reason.
package verify
