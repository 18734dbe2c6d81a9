package signing

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"fmt"

	"github.com/bluesky-social/indigo/atproto/atcrypto"
)

func newP256(compressed []byte) (*Key, error) {
	pub, err := atcrypto.ParsePublicBytesP256(compressed)
	if err != nil {
		return nil, fmt.Errorf("public key: %w", err)
	}
	k := &Key{curve: P256}
	copy(k.multicodec[:], prefixP256[:])
	copy(k.multicodec[2:], compressed)
	if k.p256, err = ecdsa.ParseUncompressedPublicKey(elliptic.P256(), pub.UncompressedBytes()); err != nil {
		return nil, fmt.Errorf("public key: %w", err)
	}
	return k, nil
}

// verifyP256 expects a signature that passed checkForm.
func verifyP256(pub *ecdsa.PublicKey, digest, sig []byte) bool {
	// The library takes ASN.1: SEQUENCE { INTEGER r, INTEGER s }. Each integer is
	// at most 33 bytes (a leading zero keeps it positive), so one length byte does.
	var buf [2 + 2*(2+33)]byte
	der := append(buf[:0], 0x30, 0)
	der = appendASN1Int(der, sig[:32])
	der = appendASN1Int(der, sig[32:])
	der[1] = byte(len(der) - 2)
	return ecdsa.VerifyASN1(pub, digest, der)
}

func appendASN1Int(dst, b []byte) []byte {
	for len(b) > 1 && b[0] == 0 {
		b = b[1:]
	}
	if b[0]&0x80 != 0 {
		dst = append(dst, 0x02, byte(len(b)+1), 0)
	} else {
		dst = append(dst, 0x02, byte(len(b)))
	}
	return append(dst, b...)
}
