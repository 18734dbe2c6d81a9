package ingest

import (
	"sync"
	"time"
)

// recent remembers for a while what was asked about which account, so that a host
// cannot make us ask again and again. It is bounded by the rate of the answers that
// it lets us wait for.
type recent struct {
	every time.Duration
	burst int

	mu    sync.Mutex
	m     map[string]uses
	prune int // entries at which the old ones are thrown out
}

type uses struct {
	since time.Time
	n     int
}

// minPrune is the size under which old entries are left alone.
const minPrune = 1024

func newRecent(every time.Duration, burst int) *recent {
	return &recent{every: every, burst: burst, m: make(map[string]uses), prune: minPrune}
}

// spent says whether asking about key again must wait.
func (r *recent) spent(key string, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	u, ok := r.m[key]
	return ok && now.Sub(u.since) < r.every && u.n >= r.burst
}

// use notes that key was asked about.
func (r *recent) use(key string, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	u, ok := r.m[key]
	if !ok || now.Sub(u.since) >= r.every {
		u = uses{since: now}
	}
	u.n++
	r.m[key] = u
	if len(r.m) < r.prune {
		return
	}
	for k, u := range r.m {
		if now.Sub(u.since) >= r.every {
			delete(r.m, k)
		}
	}
	r.prune = max(minPrune, 2*len(r.m))
}
