package identity

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
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
	// maxPast bounds the keys of one account: the newest are kept.
	maxPast = 64
	// maxAudits bounds the accounts whose past keys are remembered, and maxPastKeys the
	// keys of all of them: about 3 MB.
	maxAudits   = 4096
	maxPastKeys = 2 * maxAudits
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
	flights flights[[]pastKey]

	mu   sync.Mutex
	m    map[string]audit
	keys int // in m
}

type audit struct {
	keys  []pastKey
	err   error
	asked time.Duration // see Resolver.now
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
	if !strings.HasPrefix(did, "did:plc:") {
		return nil, unusable("%s has no audit log", did)
	}
	if a, ok := r.audits.get(did, r.now()); ok {
		return a.keys, a.err
	}
	fl, err := r.audits.flights.join(did, forRefresh, false)
	if err != nil {
		return nil, err
	}
	return fl.wait(ctx)
}

// askAudit asks for an account's audit log and remembers what it says.
func (r *Resolver) askAudit(did string, t *ticket) ([]pastKey, error) {
	keys, err := r.fetch.audit(r.ctx, t, did)
	if errors.Is(err, ErrUnavailable) {
		return nil, err
	}
	err = final(err)
	r.audits.put(did, audit{keys: keys, err: err, asked: r.now()})
	return keys, err
}

func (a *audits) get(did string, now time.Duration) (audit, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	v, ok := a.m[did]
	return v, ok && now-v.asked < auditFor
}

func (a *audits) put(did string, v audit) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.m == nil {
		a.m = make(map[string]audit)
	}
	a.drop(did)
	for victim := range a.m { // any one will do: this is asked for seldom
		if len(a.m) < maxAudits && a.keys+len(v.keys) <= maxPastKeys {
			break
		}
		a.drop(victim)
	}
	a.m[did] = v
	a.keys += len(v.keys)
}

// drop forgets an account. a.mu is held.
func (a *audits) drop(did string) {
	a.keys -= len(a.m[did].keys)
	delete(a.m, did)
}

// audit asks the directories for an account's log.
func (f *fetcher) audit(ctx context.Context, t *ticket, did string) (keys []pastKey, err error) {
	err = f.askPLC(ctx, t, &question{
		did: did, path: did + "/log/audit", limit: maxAudit,
		read: func(body []byte) (err error) {
			keys, err = parseAudit(did, body)
			return err
		},
	})
	return keys, err
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
// use ends the one before. An error that is not ErrUnusable means that the bytes are
// no audit log.
func parseAudit(did string, body []byte) ([]pastKey, error) {
	var log []auditEntry
	if err := json.Unmarshal(body, &log); err != nil {
		return nil, fmt.Errorf("audit log of %s: %w", did, err)
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
	if n := len(keys); n > maxPast {
		keys = slices.Clone(keys[n-maxPast:])
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
