//go:build cgo

package signing

import (
	"github.com/bluesky-social/indigo/atproto/atcrypto"
	"github.com/ethereum/go-ethereum/crypto/secp256k1"
)

// Library names what checks secp256k1 signatures in this build.
const Library = "libsecp256k1"

// k256Key is the uncompressed point: libsecp256k1 parses it on each call, and from
// 65 bytes that costs no square root.
type k256Key struct{ uncompressed []byte }

func parseK256(pub *atcrypto.PublicKeyK256) (k256Key, error) {
	return k256Key{pub.UncompressedBytes()}, nil
}

// verify expects a signature that passed checkForm.
func (k k256Key) verify(digest, sig []byte) bool {
	return secp256k1.VerifySignature(k.uncompressed, digest, sig)
}
