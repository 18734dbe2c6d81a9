package identity

import (
	"bytes"
	"errors"
	"testing"

	"github.com/bluesky-social/indigo/atproto/atcrypto"
	"github.com/mr-tron/base58"
)

func TestBothDocumentFormsGiveTheSameKey(t *testing.T) {
	for _, curve := range []string{"k256", "p256"} {
		pub := publicKeyOf(t, curve)
		legacy := "EcdsaSecp256k1VerificationKey2019"
		if _, ok := pub.(*atcrypto.PublicKeyP256); ok {
			legacy = "EcdsaSecp256r1VerificationKey2019"
		}
		var want []byte
		for name, method := range map[string]map[string]string{
			"multikey":              {"id": someDID + "#atproto", "type": "Multikey", "publicKeyMultibase": pub.Multibase()},
			"multikey, relative id": {"id": "#atproto", "type": "Multikey", "publicKeyMultibase": pub.Multibase()},
			"2019, uncompressed":    {"id": "#atproto", "type": legacy, "publicKeyMultibase": "z" + base58.Encode(pub.UncompressedBytes())},
			"2019, compressed":      {"id": "#atproto", "type": legacy, "publicKeyMultibase": "z" + base58.Encode(pub.Bytes())},
		} {
			method["controller"] = someDID
			id, err := parseDocument(someDID, []byte(documentOf(t, someDID, "https://pds.example", method)))
			if err != nil {
				t.Errorf("%s, %s: %v", curve, name, err)
				continue
			}
			if want == nil {
				want = id.Key.Multicodec()
			}
			if !bytes.Equal(id.Key.Multicodec(), want) || !bytes.Equal(want[2:], pub.Bytes()) {
				t.Errorf("%s, %s: another key", curve, name)
			}
		}
	}
}

func TestAKeyOfAnotherCurveOrOwnerIsOfNoUse(t *testing.T) {
	pub := publicKeyOf(t, "p256")
	for name, method := range map[string]map[string]string{
		"p256 bytes as k256": {"id": "#atproto", "controller": someDID, "type": "EcdsaSecp256k1VerificationKey2019", "publicKeyMultibase": "z" + base58.Encode(pub.Bytes()[:20])},
		"unknown type":       {"id": "#atproto", "controller": someDID, "type": "Ed25519VerificationKey2020", "publicKeyMultibase": pub.Multibase()},
		"another controller": {"id": "#atproto", "controller": "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa", "type": "Multikey", "publicKeyMultibase": pub.Multibase()},
		"no base58":          {"id": "#atproto", "controller": someDID, "type": "EcdsaSecp256k1VerificationKey2019", "publicKeyMultibase": "z0OIl"},
	} {
		id, err := parseDocument(someDID, []byte(documentOf(t, someDID, "https://pds.example", method)))
		if !errors.Is(err, ErrUnusable) || id.Hash == [32]byte{} || id.Host != "pds.example" {
			t.Errorf("%s: %+v, %v; want ErrUnusable with host and hash", name, id, err)
		}
	}
}

func TestHostOfWritesHostsAsTheLogDoes(t *testing.T) {
	for raw, want := range map[string]string{
		"https://PDS.Example":        "pds.example",
		"https://pds.example:443/x":  "pds.example",
		"https://pds.example.:8443":  "pds.example:8443",
		"http://localhost:2583":      "localhost:2583",
		"http://pds.example:80":      "pds.example",
		"http://pds.example:443":     "pds.example:443",
		"wss://pds.example":          "pds.example",
		"http://[::1]:2583":          "[::1]:2583",
		"ftp://pds.example":          "",
		"pds.example":                "",
		"https://":                   "",
		"https://%zz":                "",
		"did:web:pds.example":        "",
		"https://user@pds.example/":  "pds.example",
		"https://pds.example/a?b=c#": "pds.example",
	} {
		got, err := HostOf(raw)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("HostOf(%q) = %q, %v; want %q", raw, got, err, want)
		}
	}
}

func FuzzParseDocument(f *testing.F) {
	f.Add([]byte(`{"id":"` + someDID + `","verificationMethod":[{"id":"#atproto","type":"Multikey","controller":"` + someDID +
		`","publicKeyMultibase":"zQ3shXjHeiBuRCKmM36cuYnm7YEMzhGnCmCyW92sRJ9pribSF"}],"service":[{"id":"#atproto_pds","type":"AtprotoPersonalDataServer","serviceEndpoint":"https://a.example"}]}`))
	f.Add([]byte(`{"id":"` + someDID + `","verificationMethod":[{"id":"#atproto","type":"EcdsaSecp256k1VerificationKey2019","controller":"` + someDID +
		`","publicKeyMultibase":"zQYEBzXeuTM9UR3rfvNag6L3RNAs5pQZyYPsomTsgQhsxLdEgCrPTLgFna8yqCnxPpNT7DBk6Ym3dgPKNu86vt9GR"}],"service":[{"id":"#atproto_pds","type":"AtprotoPersonalDataServer","serviceEndpoint":"http://[::1]:1"}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		id, err := parseDocument(someDID, b)
		if err == nil && (id.Key == nil || id.Host == "" || id.DID != someDID) {
			t.Fatalf("accepted without key or host: %+v", id)
		}
	})
}
