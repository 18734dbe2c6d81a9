package signing

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/bluesky-social/indigo/atproto/atcrypto"
)

// Sizes in bytes (the cryptography page).
const (
	SignatureSize  = 64 // r and s, big-endian, 32 bytes each
	CompressedSize = 33
	MulticodecSize = 2 + CompressedSize
)

// Errors of Verify. ErrMalformed means that no key could ever fit the signature,
// ErrMismatch that this one does not.
var (
	ErrMalformed = errors.New("malformed signature")
	ErrMismatch  = errors.New("signature does not fit the key")
)

// Curve says which of the two curves of the cryptography page a key is on.
type Curve uint8

// The curves.
const (
	P256 Curve = iota + 1
	K256       // secp256k1
)

func (c Curve) String() string {
	switch c {
	case P256:
		return "p256"
	case K256:
		return "k256"
	}
	return "unknown"
}

// multicodec prefixes as varints: p256-pub 0x1200, secp256k1-pub 0xe7.
var (
	prefixP256 = [2]byte{0x80, 0x24}
	prefixK256 = [2]byte{0xe7, 0x01}
)

// Key is an account's public key, parsed once. It is immutable and may be used by
// any number of goroutines.
type Key struct {
	curve      Curve
	multicodec [MulticodecSize]byte
	p256       *ecdsa.PublicKey // set for P256
	k256       k256Key          // set for K256, its type depends on the build
}

// ParseMulticodec reads the form that Multicodec writes: a varint prefix and the
// compressed point.
func ParseMulticodec(b []byte) (*Key, error) {
	if len(b) != MulticodecSize {
		return nil, fmt.Errorf("public key: %d bytes, want %d", len(b), MulticodecSize)
	}
	switch prefix := [2]byte(b); prefix {
	case prefixP256:
		return newP256(b[2:])
	case prefixK256:
		return newK256(b[2:])
	default:
		return nil, fmt.Errorf("public key: unknown multicodec prefix %x", prefix)
	}
}

// FromPublic takes over a key that was read from a DID document.
func FromPublic(pub atcrypto.PublicKey) (*Key, error) {
	switch p := pub.(type) {
	case *atcrypto.PublicKeyP256:
		if p != nil {
			return newP256(p.Bytes())
		}
	case *atcrypto.PublicKeyK256:
		if p != nil {
			return newK256(p.Bytes())
		}
	}
	return nil, fmt.Errorf("public key: unsupported type %T", pub)
}

func newK256(compressed []byte) (*Key, error) {
	k := &Key{curve: K256}
	copy(k.multicodec[:], prefixK256[:])
	copy(k.multicodec[2:], compressed)
	pub, err := atcrypto.ParsePublicBytesK256(compressed)
	if err != nil {
		return nil, fmt.Errorf("public key: %w", err)
	}
	if k.k256, err = parseK256(pub); err != nil {
		return nil, fmt.Errorf("public key: %w", err)
	}
	return k, nil
}

// Curve says which curve the key is on.
func (k *Key) Curve() Curve { return k.curve }

// Multicodec returns the varint prefix and the compressed point, 35 bytes, as a
// log record's field 8 holds them. The caller may keep and change the slice.
func (k *Key) Multicodec() []byte { return bytes.Clone(k.multicodec[:]) }

// AppendMulticodec appends the same bytes to dst.
func (k *Key) AppendMulticodec(dst []byte) []byte { return append(dst, k.multicodec[:]...) }

// Equal says whether both are the same key. A nil key equals only nil.
func (k *Key) Equal(other *Key) bool {
	if k == nil || other == nil {
		return k == other
	}
	return k.multicodec == other.multicodec
}

// Verify checks a signature over SHA-256(message). Nil means that it fits.
func (k *Key) Verify(message, sig []byte) error {
	digest := sha256.Sum256(message)
	return k.VerifyDigest(digest[:], sig)
}

// VerifyDigest checks a signature over a SHA-256 digest of 32 bytes.
func (k *Key) VerifyDigest(digest, sig []byte) error {
	if len(digest) != sha256.Size {
		return fmt.Errorf("digest of %d bytes, want %d", len(digest), sha256.Size)
	}
	if err := checkForm(k.curve, sig); err != nil {
		return err
	}
	ok := false
	switch k.curve {
	case P256:
		ok = verifyP256(k.p256, digest, sig)
	case K256:
		ok = k.k256.verify(digest, sig)
	}
	if !ok {
		return ErrMismatch
	}
	return nil
}
