package ingest

import (
	"context"
	"math/rand/v2"
	"time"
)

func (o *DialOptions) ensureDefaults() {
	orInt(&o.HandshakeTimeout, 15*time.Second)
	orInt(&o.BackoffBase, time.Second)
	orInt(&o.BackoffCap, time.Hour)
	orInt(&o.TrustedBackoffCap, 30*time.Second)
	orInt(&o.HealthyAfter, time.Minute)
	orInt(&o.PingAfter, 30*time.Second)
	orInt(&o.SilentFor, 90*time.Second)
	orInt(&o.AtOnce, 64)
	orInt(&o.PerSecond, 100)
	if o.Jitter == nil {
		o.Jitter = func(d time.Duration) time.Duration { return rand.N(d + 1) }
	}
}

// backoff is how long to wait between attempts: exponential with full jitter, so
// that hosts which failed together do not come back together.
type backoff struct {
	base, cap time.Duration
	jitter    func(time.Duration) time.Duration
	failures  int
}

// next returns the wait before the next attempt.
func (b *backoff) next() time.Duration {
	d := b.cap
	if b.failures < 32 && b.base<<b.failures < b.cap && b.base<<b.failures > 0 {
		d = b.base << b.failures
	}
	b.failures++
	return b.jitter(d)
}

func (b *backoff) reset() { b.failures = 0 }

// sleep waits for d and says whether ctx is still alive.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
