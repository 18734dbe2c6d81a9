package signing

import (
	"bytes"
	"encoding/asn1"
	"encoding/hex"
	"encoding/json"
	"errors"
	"math/big"
	"os"
	"testing"

	"github.com/bluesky-social/indigo/atproto/atcrypto"
)

// wycheproof is the part of a test file that is used here.
type wycheproof struct {
	TestGroups []struct {
		PublicKey struct{ Uncompressed string }
		Tests     []struct {
			TcID             int
			Comment          string
			Msg, Sig, Result string
		}
	}
}

// compactOf gives a DER signature's 64-byte form; false when it is not DER or has none.
func compactOf(der []byte) ([]byte, bool) {
	var v struct{ R, S *big.Int }
	rest, err := asn1.Unmarshal(der, &v)
	if err != nil || len(rest) > 0 || v.R.Sign() < 0 || v.S.Sign() < 0 || v.R.BitLen() > 256 || v.S.BitLen() > 256 {
		return nil, false
	}
	if again, err := asn1.Marshal(v); err != nil || !bytes.Equal(again, der) {
		return nil, false
	}
	sig := make([]byte, SignatureSize)
	v.R.FillBytes(sig[:32])
	v.S.FillBytes(sig[32:])
	return sig, true
}

func TestWycheproofSecp256k1(t *testing.T) {
	raw, err := os.ReadFile("testdata/wycheproof/ecdsa_secp256k1_sha256_bitcoin_test.json")
	if err != nil {
		t.Fatal(err)
	}
	var file wycheproof
	if err := json.Unmarshal(raw, &file); err != nil {
		t.Fatal(err)
	}
	unhex := func(s string) []byte {
		b, err := hex.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	valid, invalid, malformed := 0, 0, 0
	for _, g := range file.TestGroups {
		pub, err := atcrypto.ParsePublicUncompressedBytesK256(unhex(g.PublicKey.Uncompressed))
		if err != nil {
			t.Fatal(err)
		}
		key, err := FromPublic(pub)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range g.Tests {
			sig, ok := compactOf(unhex(c.Sig))
			if !ok {
				if c.Result == "valid" {
					t.Errorf("%d (%s): a valid signature was not read", c.TcID, c.Comment)
				}
				continue
			}
			err := key.Verify(unhex(c.Msg), sig)
			if (err == nil) != (c.Result == "valid") {
				t.Errorf("%d (%s): %v, want %s", c.TcID, c.Comment, err, c.Result)
			}
			switch {
			case c.Result == "valid":
				valid++
			case errors.Is(err, ErrMalformed):
				malformed++
			default:
				invalid++
			}
		}
	}
	t.Logf("%s: %d valid, %d malformed, %d do not fit", Library, valid, malformed, invalid)
	if valid < 100 || malformed < 10 || invalid < 10 {
		t.Error("too few vectors of one kind: the file was not read as it is")
	}
}
