package signing

import (
	"crypto/ecdsa"
	"crypto/elliptic"
)

// verifyP256 checks with the key's table when there is one, and with crypto/ecdsa
// otherwise. It expects a signature that passed checkForm.
func verifyP256(c *tableCache, point *[uncompressedSize]byte, digest, sig []byte) bool {
	if t := c.table(point); t != nil {
		return t.verify(digest, sig)
	}
	return verifyECDSA(point[:], digest, sig)
}

// verifyECDSA checks with crypto/ecdsa. It expects a signature that passed checkForm.
func verifyECDSA(point, digest, sig []byte) bool {
	pub, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point)
	if err != nil {
		return false // it was on the curve when the Key was made
	}
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
