// Package signing holds an account's public key, parsed once, and checks commit
// signatures with it (the cryptography page of the AT Protocol specification):
// ECDSA over SHA-256 with P-256 or secp256k1, 64-byte compact signatures, low-S.
//
// With cgo, secp256k1 signatures are checked by libsecp256k1 (twice as fast);
// without, by a library in Go. Both stand behind the same check of a signature's
// form and pass the same vectors.
//
// It does not resolve identities and does not sign.
//
// Invariants: a Key is a valid point of its curve and never changes; no input makes
// a method panic.
package signing
