//go:build cgo

package signing

import "github.com/ethereum/go-ethereum/crypto/secp256k1"

// Library names what checks secp256k1 signatures in this build.
const Library = "libsecp256k1"

// parsedK256 is empty: libsecp256k1 takes the point's bytes.
type parsedK256 struct{}

func (parsedK256) parse([]byte) error { return nil }
func (parsedK256) size() int          { return 0 }

// verifyK256 expects a signature that passed checkForm.
func (k *Key) verifyK256(digest, sig []byte) bool {
	return secp256k1.VerifySignature(k.point[:], digest, sig)
}
