//go:build !cgo

package signing

import (
	"crypto"

	"github.com/bluesky-social/indigo/atproto/atcrypto"
	"gitlab.com/yawning/secp256k1-voi/secec"
)

// Library names what checks secp256k1 signatures in this build.
const Library = "secp256k1-voi"

// k256Key holds the point decoded. atcrypto's own method hashes the message itself,
// and callers here have the digest already, hence the library beneath it.
type k256Key struct{ pub *secec.PublicKey }

var k256Options = &secec.ECDSAOptions{
	Hash:            crypto.SHA256,
	Encoding:        secec.EncodingCompact,
	RejectMalleable: true,
}

func parseK256(pub *atcrypto.PublicKeyK256) (k256Key, error) {
	p, err := secec.NewPublicKey(pub.UncompressedBytes())
	if err != nil {
		return k256Key{}, err
	}
	return k256Key{p}, nil
}

// verify expects a signature that passed checkForm.
func (k k256Key) verify(digest, sig []byte) bool {
	return k.pub.Verify(digest, sig, k256Options)
}
