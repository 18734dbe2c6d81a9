package signing

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"unsafe"

	"github.com/bluesky-social/indigo/atproto/atcrypto"
)

// Sizes in bytes (the cryptography page).
const (
	SignatureSize  = 64 // r and s, big-endian, 32 bytes each
	CompressedSize = 33
	MulticodecSize = 2 + CompressedSize

	uncompressedSize = 65
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
// any number of goroutines. With cgo it has no pointers, so that a million of them in
// a cache are nothing to the garbage collector.
type Key struct {
	parsed parsedK256 // what a build's library wants beside the point
	curve  Curve
	// point is uncompressed: 4, x, y. Both libraries parse it on each call, which costs
	// no square root and under 1 % of the call.
	point [uncompressedSize]byte
}

// ParseMulticodec reads the form that Multicodec writes: a varint prefix and the
// compressed point.
func ParseMulticodec(b []byte) (*Key, error) {
	if len(b) != MulticodecSize {
		return nil, fmt.Errorf("public key: %d bytes, want %d", len(b), MulticodecSize)
	}
	switch prefix := [2]byte(b); prefix {
	case prefixP256:
		pub, err := atcrypto.ParsePublicBytesP256(b[2:])
		if err != nil {
			return nil, fmt.Errorf("public key: %w", err)
		}
		return newKey(P256, pub.UncompressedBytes())
	case prefixK256:
		pub, err := atcrypto.ParsePublicBytesK256(b[2:])
		if err != nil {
			return nil, fmt.Errorf("public key: %w", err)
		}
		return newKey(K256, pub.UncompressedBytes())
	default:
		return nil, fmt.Errorf("public key: unknown multicodec prefix %x", prefix)
	}
}

// FromPublic takes over a key that was read from a DID document.
func FromPublic(pub atcrypto.PublicKey) (*Key, error) {
	switch p := pub.(type) {
	case *atcrypto.PublicKeyP256:
		if p != nil {
			return newKey(P256, p.UncompressedBytes())
		}
	case *atcrypto.PublicKeyK256:
		if p != nil {
			return newKey(K256, p.UncompressedBytes())
		}
	}
	return nil, fmt.Errorf("public key: unsupported type %T", pub)
}

// newKey makes a key of a point that was found to be on its curve.
func newKey(c Curve, point []byte) (*Key, error) {
	if len(point) != uncompressedSize {
		return nil, fmt.Errorf("public key: point of %d bytes, want %d", len(point), uncompressedSize)
	}
	k := &Key{curve: c, point: [uncompressedSize]byte(point)}
	if c == K256 {
		if err := k.parsed.parse(point); err != nil {
			return nil, fmt.Errorf("public key: %w", err)
		}
	}
	return k, nil
}

// Curve says which curve the key is on.
func (k *Key) Curve() Curve { return k.curve }

// Multicodec returns the varint prefix and the compressed point, 35 bytes, as a
// log record's field 8 holds them. The caller may keep and change the slice.
func (k *Key) Multicodec() []byte { return k.AppendMulticodec(make([]byte, 0, MulticodecSize)) }

// AppendMulticodec appends the same bytes to dst.
func (k *Key) AppendMulticodec(dst []byte) []byte {
	prefix := prefixK256
	if k.curve == P256 {
		prefix = prefixP256
	}
	sign := 2 | k.point[uncompressedSize-1]&1 // SEC 1, version 2.0, section 2.3.3
	dst = append(dst, prefix[0], prefix[1], sign)
	return append(dst, k.point[1:CompressedSize]...)
}

// Size is the memory that the key takes where it stands in something larger, with all
// that it points to, in bytes.
func (k *Key) Size() int { return int(unsafe.Sizeof(*k)) + k.parsed.size() }

// Equal says whether both are the same key. A nil key equals only nil.
func (k *Key) Equal(other *Key) bool {
	if k == nil || other == nil {
		return k == other
	}
	return k.curve == other.curve && bytes.Equal(k.point[:], other.point[:])
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
		ok = verifyP256(tables, &k.point, digest, sig)
	case K256:
		ok = k.verifyK256(digest, sig)
	}
	if !ok {
		return ErrMismatch
	}
	return nil
}
