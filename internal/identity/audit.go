package identity

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/bluesky-social/indigo/atproto/atcrypto"

	"github.com/cistern-archive/cistern/internal/signing"
)

const (
	// maxAudit bounds an audit log, in bytes. The directory allows an account a few
	// dozen operations a week, of about 1 kB each.
	maxAudit = 1 << 20
	// auditFor is how long past keys are believed complete.
	auditFor = 10 * time.Minute
	// maxAudits bounds how many accounts' past keys are remembered.
	maxAudits = 4096
	// keySlack is how far a host's clock may be behind the directory's when it begins to
	// use a key. There is none at the end: a key that was replaced is not to be trusted.
	keySlack = 5 * time.Minute
)

// pastKey is a signing key and when the directory named it.
type pastKey struct {
	key         *signing.Key
	from, until time.Time // until is zero for the present key
}

// audits remembers past keys; errors that are final too.
type audits struct {
	mu sync.Mutex
	m  map[string]audit
}

type audit struct {
	keys  []pastKey
	err   error
	asked time.Time
}

// PastKeys returns the keys that the did:plc directory's audit log names for an
// account at a time, the newest first; there may be two when one had just begun.
// Asking again within ten minutes asks nobody. Its error is an ErrGone, ErrUnusable or
// ErrUnavailable.
func (r *Resolver) PastKeys(ctx context.Context, did string, at time.Time) ([]*signing.Key, error) {
	a, err := r.audit(ctx, did)
	if err != nil {
		return nil, err
	}
	var keys []*signing.Key
	for i := len(a) - 1; i >= 0; i-- {
		k := a[i]
		if at.Before(k.from.Add(-keySlack)) || (!k.until.IsZero() && !at.Before(k.until)) {
			continue
		}
		keys = append(keys, k.key)
	}
	return keys, nil
}

func (r *Resolver) audit(ctx context.Context, did string) ([]pastKey, error) {
	now := r.opts.Now()
	r.audits.mu.Lock()
	a, ok := r.audits.m[did]
	r.audits.mu.Unlock()
	if ok && now.Sub(a.asked) < auditFor {
		return a.keys, a.err
	}
	keys, err := r.fetch.audit(ctx, did)
	if errors.Is(err, ErrUnavailable) {
		return nil, err
	}
	r.audits.put(did, audit{keys: keys, err: err, asked: now})
	return keys, err
}

func (a *audits) put(did string, v audit) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.m == nil {
		a.m = make(map[string]audit)
	}
	for victim := range a.m { // any one will do: this is asked for seldom
		if len(a.m) < maxAudits {
			break
		}
		delete(a.m, victim)
	}
	a.m[did] = v
}

// audit asks the directories for an account's log, in order.
func (f *fetcher) audit(ctx context.Context, did string) ([]pastKey, error) {
	if !strings.HasPrefix(did, "did:plc:") {
		return nil, unusable("%s has no audit log", did)
	}
	select {
	case f.slots <- struct{}{}:
		defer func() { <-f.slots }()
	case <-ctx.Done():
		return nil, &UnavailableError{Err: context.Cause(ctx)}
	}
	var errs []error
	for _, p := range f.plc {
		if d := p.wait(f.now()); d > 0 {
			errs = append(errs, fmt.Errorf("%s: asked to wait %v more", p.url, d.Round(time.Second)))
			continue
		}
		body, err := f.get(ctx, f.plcHTTP, did, p.url+"/"+did+"/log/audit", maxAudit)
		if err == nil {
			return parseAudit(did, body)
		}
		if !errors.Is(err, ErrUnavailable) {
			return nil, err
		}
		errs = append(errs, err)
	}
	return nil, &UnavailableError{Err: errors.Join(errs...)}
}

// auditEntry is one operation of the directory's log (the did:plc specification); a
// genesis operation of the first form has its key in signingKey.
type auditEntry struct {
	DID       string    `json:"did"`
	Nullified bool      `json:"nullified"`
	CreatedAt time.Time `json:"createdAt"`
	Operation struct {
		VerificationMethods map[string]string `json:"verificationMethods"`
		SigningKey          string            `json:"signingKey"`
	} `json:"operation"`
}

// parseAudit reads which key was named when. An operation without a key that we can
// use ends the one before.
func parseAudit(did string, body []byte) ([]pastKey, error) {
	var log []auditEntry
	if err := json.Unmarshal(body, &log); err != nil {
		return nil, unusable("audit log of %s: %w", did, err)
	}
	var keys []pastKey
	for i := range log {
		e := &log[i]
		if e.DID != did || e.Nullified {
			continue
		}
		if e.CreatedAt.IsZero() { // it would leave the key before it valid for ever
			return nil, unusable("audit log of %s: entry %d has no time", did, i)
		}
		key := auditKey(e)
		if n := len(keys); n > 0 && keys[n-1].until.IsZero() {
			if key != nil && keys[n-1].key.Equal(key) {
				continue
			}
			keys[n-1].until = e.CreatedAt
		}
		if key != nil {
			keys = append(keys, pastKey{key: key, from: e.CreatedAt})
		}
	}
	return keys, nil
}

func auditKey(e *auditEntry) *signing.Key {
	text := e.Operation.VerificationMethods["atproto"]
	if text == "" {
		text = e.Operation.SigningKey
	}
	pub, err := atcrypto.ParsePublicDIDKey(text)
	if err != nil {
		return nil
	}
	key, err := signing.FromPublic(pub)
	if err != nil {
		return nil
	}
	return key
}
