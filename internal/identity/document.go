package identity

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/bluesky-social/indigo/atproto/atcrypto"
	indigo "github.com/bluesky-social/indigo/atproto/identity"
	"github.com/mr-tron/base58"

	"github.com/cistern-archive/cistern/internal/signing"
)

// pdsService is the type of a document's #atproto_pds service (the did page,
// section "DID documents").
const pdsService = "AtprotoPersonalDataServer"

var errWrongDocument = errors.New("document is of another DID")

// parseDocument reads a DID document. An error that is not ErrUnusable means that
// the bytes are no document of did. With ErrUnusable the Identity still carries
// what there is, Hash included.
func parseDocument(did string, body []byte) (Identity, error) {
	var doc indigo.DIDDocument
	if err := json.Unmarshal(body, &doc); err != nil {
		return Identity{}, fmt.Errorf("document of %s: %w", did, err)
	}
	if doc.DID.String() != did {
		return Identity{}, fmt.Errorf("document of %s: %w", did, errWrongDocument)
	}
	// Hash what was understood and not the bytes, so that two resolvers that differ
	// in white space agree.
	canonical, err := json.Marshal(&doc)
	if err != nil {
		return Identity{}, fmt.Errorf("document of %s: %w", did, err)
	}
	id := Identity{DID: did, Hash: sha256.Sum256(canonical)}
	parsed := indigo.ParseIdentity(&doc)

	svc, ok := parsed.Services["atproto_pds"]
	if !ok || svc.Type != pdsService {
		return id, unusable("%s has no PDS", did)
	}
	if id.Host, err = HostOf(svc.URL); err != nil {
		return id, unusable("%s: PDS endpoint: %w", did, err)
	}
	pub, err := publicKey(&parsed)
	if err != nil {
		return id, unusable("%s: signing key: %w", did, err)
	}
	if id.Key, err = signing.FromPublic(pub); err != nil {
		return id, unusable("%s: signing key: %w", did, err)
	}
	return id, nil
}

// publicKey reads the #atproto key: a Multikey, or one of the 2019 forms, whose key
// bytes the reference implementation takes both uncompressed and compressed.
func publicKey(id *indigo.Identity) (atcrypto.PublicKey, error) {
	vm, ok := id.Keys["atproto"]
	if !ok {
		return nil, indigo.ErrKeyNotDeclared
	}
	var compressed func([]byte) (atcrypto.PublicKey, error)
	switch vm.Type {
	case "EcdsaSecp256k1VerificationKey2019":
		compressed = func(b []byte) (atcrypto.PublicKey, error) { return atcrypto.ParsePublicBytesK256(b) }
	case "EcdsaSecp256r1VerificationKey2019":
		compressed = func(b []byte) (atcrypto.PublicKey, error) { return atcrypto.ParsePublicBytesP256(b) }
	default:
		return id.PublicKey()
	}
	if mb, ok := strings.CutPrefix(vm.PublicKeyMultibase, "z"); ok && len(mb) < 64 {
		if b, err := base58.Decode(mb); err == nil && len(b) == 33 {
			return compressed(b)
		}
	}
	return id.PublicKey()
}

// HostOf returns a service URL's host as the log writes it: lower case, with the
// port only when it is not the scheme's default.
func HostOf(rawURL string) (string, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return "", fmt.Errorf("%q is not a URL: %w", rawURL, err)
	}
	host := strings.ToLower(strings.TrimSuffix(u.Hostname(), "."))
	if host == "" {
		return "", fmt.Errorf("%q has no hostname", rawURL)
	}
	if len(host) > maxHost-len(":65535") {
		return "", fmt.Errorf("a hostname of %d bytes is too long", len(host))
	}
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	port := u.Port()
	switch u.Scheme {
	case "https", "wss":
		if port == "443" {
			port = ""
		}
	case "http", "ws":
		if port == "80" {
			port = ""
		}
	default:
		return "", fmt.Errorf("%q is neither http nor https", rawURL)
	}
	if port != "" {
		host += ":" + port
	}
	return host, nil
}
