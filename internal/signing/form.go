package signing

import (
	"bytes"
	"fmt"
)

// Group orders n and n/2, rounded down, big-endian (SEC 2, version 2.0, sections
// 2.4.1 and 2.4.2). A signature with s > n/2 is refused: with it anyone could
// make a second valid signature of a commit, hence a second CID.
var (
	orderP256 = [32]byte{
		0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
		0xbc, 0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
	}
	orderK256 = [32]byte{
		0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe,
		0xba, 0xae, 0xdc, 0xe6, 0xaf, 0x48, 0xa0, 0x3b, 0xbf, 0xd2, 0x5e, 0x8c, 0xd0, 0x36, 0x41, 0x41,
	}
	halfP256 = half(orderP256)
	halfK256 = half(orderK256)
	zero     [32]byte
)

func half(n [32]byte) (h [32]byte) {
	var carry byte
	for i, b := range n {
		h[i] = b>>1 | carry
		carry = b << 7
	}
	return h
}

// checkForm checks what does not depend on the key: 64 bytes, r in 1…n-1 and s in
// 1…n/2 (the cryptography page). Both libraries are behind the same check, so that
// a build's choice of library never decides about a signature's form.
func checkForm(c Curve, sig []byte) error {
	if len(sig) != SignatureSize {
		return fmt.Errorf("%w: %d bytes, want %d", ErrMalformed, len(sig), SignatureSize)
	}
	order, low := &orderK256, &halfK256
	if c == P256 {
		order, low = &orderP256, &halfP256
	}
	r, s := sig[:32], sig[32:]
	switch {
	case bytes.Equal(r, zero[:]) || bytes.Equal(s, zero[:]):
		return fmt.Errorf("%w: r or s is zero", ErrMalformed)
	case bytes.Compare(r, order[:]) >= 0 || bytes.Compare(s, order[:]) >= 0:
		return fmt.Errorf("%w: r or s is not below the group order", ErrMalformed)
	case bytes.Compare(s, low[:]) > 0:
		return fmt.Errorf("%w: s is high", ErrMalformed)
	}
	return nil
}
