package signing

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"math/big"
	"sync"
	"testing"

	"github.com/bluesky-social/indigo/atproto/atcrypto"
)

// vectors are the interoperability vectors of the AT Protocol for signatures
// (message "oWVoZWxsb2V3b3JsZA", base64).
var vectors = []struct {
	name, didKey, sig string
	want              error
}{
	{"p256, low S", "did:key:zDnaembgSGUhZULN2Caob4HLJPaxBh92N7rtH21TErzqf8HQo",
		"2vZNsG3UKvvO/CDlrdvyZRISOFylinBh0Jupc6KcWoJWExHptCfduPleDbG3rko3YZnn9Lw0IjpixVmexJDegg", nil},
	{"k256, low S", "did:key:zQ3shqwJEJyMBsBXCWyCBpUBMqxcon9oHB7mCvx4sSpMdLJwc",
		"5WpdIuEUUfVUYaozsi8G0B3cWO09cgZbIIwg1t2YKdUn/FEznOndsz/qgiYb89zwxYCbB71f7yQK5Lr7NasfoA", nil},
	{"p256, high S", "did:key:zDnaembgSGUhZULN2Caob4HLJPaxBh92N7rtH21TErzqf8HQo",
		"2vZNsG3UKvvO/CDlrdvyZRISOFylinBh0Jupc6KcWoKp7O4VS9giSAah8k5IUbXIW00SuOrjfEqQ9HEkN9JGzw", ErrMalformed},
	{"k256, high S", "did:key:zQ3shqwJEJyMBsBXCWyCBpUBMqxcon9oHB7mCvx4sSpMdLJwc",
		"5WpdIuEUUfVUYaozsi8G0B3cWO09cgZbIIwg1t2YKdXYA67MYxYiTMAVfdnkDCMN9S5B3vHosRe07aORmoshoQ", ErrMalformed},
	{"p256, DER", "did:key:zDnaeT6hL2RnTdUhAPLij1QBkhYZnmuKyM7puQLW1tkF4Zkt8",
		"MEQCIFxYelWJ9lNcAVt+jK0y/T+DC/X4ohFZ+m8f9SEItkY1AiACX7eXz5sgtaRrz/SdPR8kprnbHMQVde0T2R8yOTBweA", ErrMalformed},
	{"k256, DER", "did:key:zQ3shnriYMXc8wvkbJqfNWh5GXn2bVAeqTC92YuNbek4npqGF",
		"MEUCIQCWumUqJqOCqInXF7AzhIRg2MhwRz2rWZcOEsOjPmNItgIgXJH7RnqfYY6M0eg33wU0sFYDlprwdOcpRn78Sz5ePgk", ErrMalformed},
	{"p256 signature, k256 key", "did:key:zQ3shqwJEJyMBsBXCWyCBpUBMqxcon9oHB7mCvx4sSpMdLJwc",
		"2vZNsG3UKvvO/CDlrdvyZRISOFylinBh0Jupc6KcWoJWExHptCfduPleDbG3rko3YZnn9Lw0IjpixVmexJDegg", ErrMismatch},
}

const vectorMessage = "oWVoZWxsb2V3b3JsZA"

func decode(t testing.TB, s string) []byte {
	t.Helper()
	b, err := base64.RawStdEncoding.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestInteroperabilityVectors(t *testing.T) {
	t.Logf("secp256k1 by %s", Library)
	message := decode(t, vectorMessage)
	for _, v := range vectors {
		t.Run(v.name, func(t *testing.T) {
			pub, err := atcrypto.ParsePublicDIDKey(v.didKey)
			if err != nil {
				t.Fatal(err)
			}
			key, err := FromPublic(pub)
			if err != nil {
				t.Fatal(err)
			}
			if err := key.Verify(message, decode(t, v.sig)); !errors.Is(err, v.want) {
				t.Errorf("got %v, want %v", err, v.want)
			}
			again, err := ParseMulticodec(key.Multicodec())
			if err != nil || !again.Equal(key) || again.Curve() != key.Curve() {
				t.Fatalf("multicodec form: %v", err)
			}
			if err := again.Verify(message, decode(t, v.sig)); !errors.Is(err, v.want) {
				t.Errorf("after multicodec: got %v, want %v", err, v.want)
			}
		})
	}
}

// pair is a private key of each curve with its Key.
func pairs(t testing.TB) map[Curve]atcrypto.PrivateKey {
	p, err := atcrypto.GeneratePrivateKeyP256()
	if err != nil {
		t.Fatal(err)
	}
	k, err := atcrypto.GeneratePrivateKeyK256()
	if err != nil {
		t.Fatal(err)
	}
	return map[Curve]atcrypto.PrivateKey{P256: p, K256: k}
}

func keyOf(t testing.TB, priv atcrypto.PrivateKey) *Key {
	t.Helper()
	pub, err := priv.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	key, err := FromPublic(pub)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func signed(t testing.TB, priv atcrypto.PrivateKey, message []byte) []byte {
	t.Helper()
	sig, err := priv.HashAndSign(message)
	if err != nil {
		t.Fatal(err)
	}
	return sig
}

// Every signature that is out of range is malformed on both curves, in both builds.
func TestOutOfRangeSignaturesAreMalformed(t *testing.T) {
	message := []byte("message")
	for curve, priv := range pairs(t) {
		key, sig := keyOf(t, priv), signed(t, priv, message)
		order, low := orderK256, halfK256
		if curve == P256 {
			order, low = orderP256, halfP256
		}
		n := new(big.Int).SetBytes(order[:])
		part := func(r, s []byte) []byte { return append(bytes.Clone(r), s...) }
		high := new(big.Int).Sub(n, new(big.Int).SetBytes(sig[32:])).FillBytes(make([]byte, 32))
		lowPlus := new(big.Int).Add(new(big.Int).SetBytes(low[:]), big.NewInt(1)).FillBytes(make([]byte, 32))
		ones := bytes.Repeat([]byte{0xff}, 32)
		cases := map[string][]byte{
			"empty": nil, "63 bytes": sig[:63], "65 bytes": append(bytes.Clone(sig), 0), "zero": make([]byte, 64),
			"r is 0": part(zero[:], sig[32:]), "s is 0": part(sig[:32], zero[:]),
			"r is n": part(order[:], sig[32:]), "s is n": part(sig[:32], order[:]),
			"r is all ones": part(ones, sig[32:]), "s is all ones": part(sig[:32], ones),
			"s is high": part(sig[:32], high), "s is n/2 + 1": part(sig[:32], lowPlus),
		}
		for name, bad := range cases {
			if err := key.Verify(message, bad); !errors.Is(err, ErrMalformed) {
				t.Errorf("%s, %s: got %v", curve, name, err)
			}
		}
		for name, wrong := range map[string][]byte{
			"r is 1": part(append(make([]byte, 31), 1), sig[32:]), "s is n/2": part(sig[:32], low[:]),
			"r and s swapped": part(low[:], sig[:32]),
		} {
			if err := key.Verify(message, wrong); err == nil {
				t.Errorf("%s, %s: verifies", curve, name)
			}
		}
	}
}

// Flipping any bit of message, signature or key ends the match.
func TestAnyBitMatters(t *testing.T) {
	for curve, priv := range pairs(t) {
		key, message := keyOf(t, priv), []byte("a message of some length")
		sig := signed(t, priv, message)
		if err := key.Verify(message, sig); err != nil {
			t.Fatalf("%s: %v", curve, err)
		}
		for i := range 8 * len(sig) {
			bad := bytes.Clone(sig)
			bad[i/8] ^= 1 << (i % 8)
			if key.Verify(message, bad) == nil {
				t.Fatalf("%s: bit %d of the signature does not matter", curve, i)
			}
		}
		for i := range 8 * len(message) {
			bad := bytes.Clone(message)
			bad[i/8] ^= 1 << (i % 8)
			if err := key.Verify(bad, sig); !errors.Is(err, ErrMismatch) {
				t.Fatalf("%s: bit %d of the message: %v", curve, i, err)
			}
		}
		code := key.Multicodec()
		for i := range 8 * len(code) {
			bad := bytes.Clone(code)
			bad[i/8] ^= 1 << (i % 8)
			other, err := ParseMulticodec(bad)
			if err == nil && (other.Verify(message, sig) == nil || other.Equal(key)) {
				t.Fatalf("%s: bit %d of the key does not matter", curve, i)
			}
		}
	}
}

func TestBadKeysAreRefused(t *testing.T) {
	good := keyOf(t, pairs(t)[K256]).Multicodec()
	cases := map[string][]byte{
		"empty": nil, "short": good[:34], "long": append(bytes.Clone(good), 0),
		"other codec": append([]byte{0xed, 0x01}, good[2:]...), "uncompressed head": append([]byte{0xe7, 0x01, 4}, good[3:]...),
		"not on the curve": append([]byte{0xe7, 0x01, 2}, bytes.Repeat([]byte{0xff}, 32)...),
		"p256, not on it":  append([]byte{0x80, 0x24, 2}, bytes.Repeat([]byte{0xff}, 32)...),
	}
	for name, b := range cases {
		if k, err := ParseMulticodec(b); err == nil {
			t.Errorf("%s: took %x", name, k.Multicodec())
		}
	}
	if _, err := FromPublic(nil); err == nil {
		t.Error("took no key")
	}
	if _, err := FromPublic((*atcrypto.PublicKeyK256)(nil)); err == nil {
		t.Error("took a nil key")
	}
	if err := keyOf(t, pairs(t)[P256]).VerifyDigest(make([]byte, 31), make([]byte, 64)); err == nil {
		t.Error("took a short digest")
	}
}

func TestMulticodecIsACopy(t *testing.T) {
	key := keyOf(t, pairs(t)[P256])
	before := key.Multicodec()
	clear(key.Multicodec())
	if !bytes.Equal(key.Multicodec(), before) || !bytes.Equal(key.AppendMulticodec([]byte{1})[1:], before) {
		t.Error("a caller changed the key")
	}
	var none *Key
	if none.Equal(key) || key.Equal(none) || !none.Equal(nil) {
		t.Error("nil keys compare wrongly")
	}
}

// One key is used by many hosts' goroutines at once.
func TestKeysAreSafeForConcurrentUse(t *testing.T) {
	message := []byte("message")
	for _, priv := range pairs(t) {
		key, sig := keyOf(t, priv), signed(t, priv, message)
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for range 20 {
					if err := key.Verify(message, sig); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
	}
}

// FuzzVerify compares this build's libraries with indigo's, on signatures near a good
// one and far from it.
func FuzzVerify(f *testing.F) {
	pk, err := atcrypto.ParsePrivateBytesK256(bytes.Repeat([]byte{9}, 32))
	if err != nil {
		f.Fatal(err)
	}
	pp, err := atcrypto.ParsePrivateBytesP256(bytes.Repeat([]byte{9}, 32))
	if err != nil {
		f.Fatal(err)
	}
	message := []byte("message")
	f.Add(true, message, signed(f, pk, message))
	f.Add(false, message, signed(f, pp, message))
	f.Add(true, message, make([]byte, 64))
	f.Add(false, []byte(nil), []byte(nil))
	f.Fuzz(func(t *testing.T, k256 bool, message, sig []byte) {
		priv := atcrypto.PrivateKey(pp)
		if k256 {
			priv = pk
		}
		pub, err := priv.PublicKey()
		if err != nil {
			t.Fatal(err)
		}
		ours, theirs := keyOf(t, priv).Verify(message, sig), pub.HashAndVerify(message, sig)
		if (ours == nil) != (theirs == nil) {
			t.Errorf("ours %v, indigo %v", ours, theirs)
		}
		good := signed(t, priv, message)
		if err := keyOf(t, priv).Verify(message, good); err != nil {
			t.Errorf("own signature: %v", err)
		}
	})
}

func BenchmarkVerifyDigest(b *testing.B) {
	digest := sha256.Sum256([]byte("message"))
	for curve, priv := range pairs(b) {
		key, sig := keyOf(b, priv), signed(b, priv, []byte("message"))
		b.Run(curve.String(), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := key.VerifyDigest(digest[:], sig); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
