package netsim

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/asn1"
	"encoding/binary"
	"fmt"
	"math/big"

	"github.com/bluesky-social/indigo/atproto/atcrypto"
	"gitlab.com/yawning/secp256k1-voi/secec"
)

// signer is an account's signing key. Signatures are deterministic (RFC 6979),
// 64 bytes of r and s, low-S (the cryptography page of the specification).
type signer struct {
	k256   *secec.PrivateKey // one of the two is nil
	p256   *ecdsa.PrivateKey
	public atcrypto.PublicKey
}

var sececOptions = &secec.ECDSAOptions{
	Hash: crypto.SHA256, Encoding: secec.EncodingCompact, RejectMalleable: true,
}

// newSigner derives a key from its purpose: the same words give the same key.
func newSigner(curve string, seed uint64, purpose string, index, generation int) (*signer, error) {
	for try := 0; ; try++ { // a hash is a valid scalar but for one in 2^128
		scalar := sha256.Sum256(fmt.Appendf(nil, "netsim key %s %d %s %d %d %d", curve, seed, purpose, index, generation, try))
		s, err := parseSigner(curve, scalar[:])
		if err == nil || try == 8 {
			return s, err
		}
	}
}

func parseSigner(curve string, scalar []byte) (*signer, error) {
	var s signer
	var err error
	switch curve {
	case "k256":
		if s.k256, err = secec.NewPrivateKey(scalar); err != nil {
			return nil, fmt.Errorf("derive k256 key: %w", err)
		}
		s.public, err = atcrypto.ParsePublicBytesK256(s.k256.PublicKey().Point().CompressedBytes())
	case "p256":
		if s.p256, err = ecdsa.ParseRawPrivateKey(elliptic.P256(), scalar); err != nil {
			return nil, fmt.Errorf("derive p256 key: %w", err)
		}
		var pub []byte
		if pub, err = s.p256.PublicKey.Bytes(); err == nil {
			s.public, err = atcrypto.ParsePublicUncompressedBytesP256(pub)
		}
	default:
		return nil, fmt.Errorf("unknown curve %q", curve)
	}
	if err != nil {
		return nil, fmt.Errorf("derive %s public key: %w", curve, err)
	}
	return &s, nil
}

// curve names the key's curve.
func (s *signer) curve() string {
	if s.k256 != nil {
		return "k256"
	}
	return "p256"
}

// sign returns the signature over the SHA-256 of content.
func (s *signer) sign(content []byte) ([]byte, error) {
	digest := sha256.Sum256(content)
	if s.k256 != nil {
		sig, err := s.k256.Sign(secec.RFC6979SHA256(), digest[:], sececOptions)
		if err != nil {
			return nil, fmt.Errorf("sign with k256 key: %w", err)
		}
		return sig, nil
	}
	der, err := s.p256.Sign(nil, digest[:], crypto.SHA256) // nil randomness: RFC 6979
	if err != nil {
		return nil, fmt.Errorf("sign with p256 key: %w", err)
	}
	var rs struct{ R, S *big.Int }
	if _, err := asn1.Unmarshal(der, &rs); err != nil {
		return nil, fmt.Errorf("decode p256 signature: %w", err)
	}
	if n := elliptic.P256().Params().N; rs.S.Cmp(new(big.Int).Rsh(n, 1)) > 0 {
		rs.S.Sub(n, rs.S)
	}
	sig := make([]byte, 64)
	rs.R.FillBytes(sig[:32])
	rs.S.FillBytes(sig[32:])
	return sig, nil
}

// order of secp256k1's group (SEC 2, section 2.4.1).
var orderK256, _ = new(big.Int).SetString("fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141", 16)

// highS returns the other valid signature of the same message, which the
// specification forbids.
func (s *signer) highS(sig []byte) []byte {
	n := orderK256
	if s.p256 != nil {
		n = elliptic.P256().Params().N
	}
	out := append([]byte(nil), sig...)
	new(big.Int).Sub(n, new(big.Int).SetBytes(sig[32:])).FillBytes(out[32:])
	return out
}

// seedOf mixes words into one seed for a random generator.
func seedOf(seed uint64, purpose string, index int) (uint64, uint64) {
	h := sha256.Sum256(fmt.Appendf(nil, "netsim %d %s %d", seed, purpose, index))
	return binary.LittleEndian.Uint64(h[:]), binary.LittleEndian.Uint64(h[8:])
}
