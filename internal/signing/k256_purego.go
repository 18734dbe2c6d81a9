//go:build !cgo

package signing

import (
	"crypto"

	"gitlab.com/yawning/secp256k1-voi/secec"
)

// Library names what checks secp256k1 signatures in this build.
const Library = "secp256k1-voi"

// parsedK256 is the point as the library has it: parsing it again on each call would
// cost a fifth of the call. atcrypto's own method hashes the message itself, and
// callers here have the digest already, hence the library beneath it.
type parsedK256 struct{ pub *secec.PublicKey }

func (p *parsedK256) parse(point []byte) (err error) {
	p.pub, err = secec.NewPublicKey(point)
	return err
}

// publicKeyBytes is what the library's PublicKey takes; a test measures it.
const publicKeyBytes = 232

func (p *parsedK256) size() int {
	if p.pub == nil {
		return 0
	}
	return publicKeyBytes
}

var k256Options = &secec.ECDSAOptions{
	Hash:            crypto.SHA256,
	Encoding:        secec.EncodingCompact,
	RejectMalleable: true,
}

// verifyK256 expects a signature that passed checkForm.
func (k *Key) verifyK256(digest, sig []byte) bool {
	return k.parsed.pub.Verify(digest, sig, k256Options)
}
