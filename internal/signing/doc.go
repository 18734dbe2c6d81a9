// Package signing holds an account's public key, parsed once, and checks commit
// signatures with it (the cryptography page of the AT Protocol specification):
// ECDSA over SHA-256 with P-256 or secp256k1, 64-byte compact signatures, low-S.
//
// It does not resolve identities and does not sign.
package signing
