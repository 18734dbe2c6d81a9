package frame_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/cistern-archive/cistern/internal/frame"
)

func TestDIDsThatCanBeServed(t *testing.T) { // T10
	for _, good := range []string{
		"did:plc:ewvi7nxzyoun6zhxrhs64oiz", "did:plc:222222222222222222222222", "did:web:example.com",
		"did:web:a-b.c1.example", "did:web:xn--bcher-kva.example", "did:web:1.example", "did:web:" + strings.Repeat("a", 63) + ".org",
	} {
		if err := frame.ValidDID(good); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	for reason, bad := range map[string][]string{
		"bad_did": {
			"", "did", "did:plc", "did:plc:", "plc:ewvi7nxzyoun6zhxrhs64oiz", "did:plc:ewvi7nxzyoun6zhxrhs64oi",
			"did:plc:ewvi7nxzyoun6zhxrhs64oizz", "did:plc:EWVI7NXZYOUN6ZHXRHS64OIZ", "did:plc:ewvi7nxzyoun6zhxrhs64oi1",
			"did:plc:ewvi7nxzyoun6zhxrhs64oi8", "DID:plc:ewvi7nxzyoun6zhxrhs64oiz", "did:PLC:ewvi7nxzyoun6zhxrhs64oiz",
			"did:plc:ewvi7nxzyoun6zhxrhs64oiz ", " did:plc:ewvi7nxzyoun6zhxrhs64oiz", "did:plc:ewvi7nxzyoun6zhxrhs64oiz#x",
			"did:web:", "did:web:localhost", "did:web:localhost%3A2583", "did:web:example.com%3A443", "did:web:example.com:path",
			"did:web:Example.com", "did:web:example.com.", "did:web:.example.com", "did:web:a..b", "did:web:-a.com",
			"did:web:a-.com", "did:web:127.0.0.1", "did:web:1.2", "did:web:a_b.com", "did:web:ex%41mple.com",
			"did:web:" + strings.Repeat("a", 64) + ".org", "did:web:" + strings.Repeat("abcdefg.", 32) + "org",
		},
		"unsupported_did_method": {"did:key:zQ3shunBKsXixLxKtC5qeSG9E4J5RkGN57im31pcTzbNQnm5w", "did:example:123", "did:plcx:ewvi7nxzyoun6zhxrhs64oiz"},
	} {
		for _, did := range bad {
			err := frame.ValidDID(did)
			var e *frame.Error
			if !errors.As(err, &e) || e.Row != 10 || e.Reason != reason {
				t.Errorf("%q: want T10 %s, got %v", did, reason, err)
			}
		}
	}
}
