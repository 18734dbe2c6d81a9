package identity

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/atcrypto"
)

// auditLog writes an audit log whose operations are an hour apart.
func auditLog(t *testing.T, begin time.Time, keys ...atcrypto.PublicKey) string {
	t.Helper()
	var log []map[string]any
	for i, k := range keys {
		op := map[string]any{"type": "plc_operation", "verificationMethods": map[string]string{"atproto": k.DIDKey()}}
		if i == 0 {
			op = map[string]any{"type": "create", "signingKey": k.DIDKey()}
		}
		log = append(log, map[string]any{
			"did": someDID, "nullified": false, "operation": op,
			"createdAt": begin.Add(time.Duration(i) * time.Hour).Format("2006-01-02T15:04:05.000Z"),
		})
	}
	b, err := json.Marshal(log)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestAPastKeyCountsForItsTimeOnly(t *testing.T) {
	begin := time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)
	a, b, c := publicKeyOf(t, "k256"), publicKeyOf(t, "p256"), publicKeyOf(t, "k256")
	plc := newDirectory(t, body(auditLog(t, begin, a, b, b, c)))
	r, clock := newResolver(t, nil, plc.URL)
	for _, w := range []struct {
		at   time.Duration
		want []atcrypto.PublicKey
	}{
		{-time.Hour, nil}, {0, []atcrypto.PublicKey{a}}, {30 * time.Minute, []atcrypto.PublicKey{a}},
		{59 * time.Minute, []atcrypto.PublicKey{b, a}}, // the host may have been ahead
		{time.Hour, []atcrypto.PublicKey{b}}, {2*time.Hour + 30*time.Minute, []atcrypto.PublicKey{b}},
		{3 * time.Hour, []atcrypto.PublicKey{c}}, {1000 * time.Hour, []atcrypto.PublicKey{c}},
	} {
		keys, err := r.PastKeys(context.Background(), someDID, begin.Add(w.at))
		if err != nil {
			t.Fatal(err)
		}
		if len(keys) != len(w.want) {
			t.Errorf("at %v: %d keys, want %d", w.at, len(keys), len(w.want))
			continue
		}
		for i := range keys {
			if string(keys[i].Multicodec()[2:]) != string(w.want[i].Bytes()) {
				t.Errorf("at %v: key %d is another", w.at, i)
			}
		}
	}
	if n := plc.requests.Load(); n != 1 {
		t.Errorf("%d requests, want 1", n)
	}
	clock.move(auditFor)
	plc.change(status(503))
	if _, err := r.PastKeys(context.Background(), someDID, begin); !errors.Is(err, ErrUnavailable) {
		t.Errorf("with the directory away: %v, want ErrUnavailable", err)
	}
	plc.change(status(404))
	if _, err := r.PastKeys(context.Background(), someDID, begin); !errors.Is(err, ErrGone) {
		t.Errorf("404: %v, want ErrGone", err)
	}
	if _, err := r.PastKeys(context.Background(), "did:web:example.com", begin); !errors.Is(err, ErrUnusable) {
		t.Errorf("did:web: %v, want ErrUnusable", err)
	}
}

func TestANullifiedOperationNamesNoKey(t *testing.T) {
	begin := time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)
	a, b := publicKeyOf(t, "k256"), publicKeyOf(t, "k256")
	var log []map[string]any
	if err := json.Unmarshal([]byte(auditLog(t, begin, a, b)), &log); err != nil {
		t.Fatal(err)
	}
	log[1]["nullified"] = true
	raw, err := json.Marshal(log)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := parseAudit(someDID, raw)
	if err != nil || len(keys) != 1 || !keys[0].until.IsZero() {
		t.Errorf("%d keys, %v; want the first alone, for ever", len(keys), err)
	}
}

func TestPastKeysOfManyAccountsAreBounded(t *testing.T) {
	var a audits
	for i := range 3 * maxAudits {
		a.put(string(rune(i)), audit{})
	}
	if len(a.m) > maxAudits {
		t.Errorf("%d are remembered, want at most %d", len(a.m), maxAudits)
	}
}

func FuzzParseAudit(f *testing.F) {
	f.Add([]byte(`[{"did":"` + someDID + `","nullified":false,"createdAt":"2025-01-01T00:00:00.000Z","operation":{"signingKey":"did:key:zQ3shXjHeiBuRCKmM36cuYnm7YEMzhGnCmCyW92sRJ9pribSF"}},` +
		`{"did":"` + someDID + `","createdAt":"2024-01-01T00:00:00.000Z","operation":{"verificationMethods":{"atproto":"did:key:zDnaerDaTF5BXEavCrfRZEk316dpbLsfPDZ3WJ5hRTPFU2169"}}}]`))
	f.Add([]byte(`[{"did":"` + someDID + `","operation":{"type":"plc_tombstone"}},null]`))
	f.Add([]byte(`[{"did":"` + someDID + `","createdAt":"2025-01-01T00:00:00.000Z","operation":{"signingKey":"did:key:zQ3shXjHeiBuRCKmM36cuYnm7YEMzhGnCmCyW92sRJ9pribSF"}},` +
		`{"did":"` + someDID + `","createdat_":"2024-01-01T00:00:00.000Z","operation":{"verificationMethods":{"atproto":"did:key:zDnaerDaTF5BXEavCrfRZEk316dpbLsfPDZ3WJ5hRTPFU2169"}}}]`))
	f.Fuzz(func(t *testing.T, b []byte) {
		keys, err := parseAudit(someDID, b)
		if err != nil && keys != nil {
			t.Fatalf("%v, and keys", err)
		}
		if len(keys) > maxPast {
			t.Fatalf("%d keys", len(keys))
		}
		for i, k := range keys {
			if k.key == nil || (k.until.IsZero() && i != len(keys)-1) {
				t.Fatalf("key %d of %d: %+v", i, len(keys), k)
			}
		}
	})
}
