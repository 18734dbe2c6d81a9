package collections

import (
	"context"
	"log/slog"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"golang.org/x/time/rate"
)

// Host is where an account's repo is.
type Host struct {
	URL     string // a scheme and an authority
	Trusted bool   // it may be anywhere: the operator named it
}

// Options of a Refresher. Host and Add must be set.
type Options struct {
	// Host says where an account is; ok is false for one that is not to be asked about.
	Host func(did string) (h Host, ok bool, err error)
	// Add notes that an account has records of these collections.
	Add func(ctx context.Context, did string, collections []string) error
	// PerSecond bounds the questions: 5.
	PerSecond float64
	// Queue bounds the accounts that wait, each once: 10,000. More are left out.
	Queue int

	UserAgent  string
	Registerer prometheus.Registerer
	Logger     *slog.Logger
}

// EnsureDefaults fills in what is not set.
func (o *Options) EnsureDefaults() {
	if o.PerSecond == 0 {
		o.PerSecond = 5
	}
	if o.Queue == 0 {
		o.Queue = 10_000
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
}

// Refresher asks hosts for the collections of accounts whose repo came as a whole.
type Refresher struct {
	o     Options
	ask   *describer
	asked *prometheus.CounterVec // result

	mu     sync.Mutex
	queue  []string
	queued map[string]bool
	wake   chan struct{}
}

// NewRefresher returns one; Run it.
func NewRefresher(o Options) *Refresher {
	o.EnsureDefaults()
	r := &Refresher{o: o, ask: newDescriber(o.UserAgent), queued: map[string]bool{}, wake: make(chan struct{}, 1)}
	f := promauto.With(o.Registerer)
	r.asked = f.NewCounterVec(prometheus.CounterOpts{
		Name: "cistern_collections_asked_total", Help: "Accounts whose host was to be asked for their collections after a #sync, by what came of it.",
	}, []string{"result"})
	f.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "cistern_collections_waiting", Help: "Accounts whose host is yet to be asked for their collections.",
	}, func() float64 { return float64(r.waiting()) })
	return r
}

func (r *Refresher) waiting() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.queue)
}

// Synced puts an account in line. It never blocks.
func (r *Refresher) Synced(did string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.queued[did]:
		return
	case len(r.queue) >= r.o.Queue:
		r.asked.WithLabelValues("left_out").Inc()
		return
	}
	r.queue = append(r.queue, did)
	r.queued[did] = true
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// next takes the first in line, "" for nobody.
func (r *Refresher) next() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.queue) == 0 {
		return ""
	}
	did := r.queue[0]
	r.queue[0] = ""
	r.queue = r.queue[1:]
	delete(r.queued, did)
	return did
}

// Run asks until ctx ends.
func (r *Refresher) Run(ctx context.Context) {
	defer r.ask.close()
	limit := rate.NewLimiter(rate.Limit(r.o.PerSecond), 1)
	for {
		did := r.next()
		if did == "" {
			select {
			case <-r.wake:
				continue
			case <-ctx.Done():
				return
			}
		}
		if limit.Wait(ctx) != nil {
			return
		}
		if result := r.refresh(ctx, did); ctx.Err() == nil {
			r.asked.WithLabelValues(result).Inc()
		}
	}
}

// refresh asks about one account, and says what came of it.
func (r *Refresher) refresh(ctx context.Context, did string) string {
	ctx, cancel := context.WithTimeout(ctx, 2*describeTimeout)
	defer cancel()
	h, ok, err := r.o.Host(did)
	if err == nil && !ok {
		return "inactive"
	}
	var names []string
	if err == nil {
		names, err = r.ask.ask(ctx, h, did)
	}
	if err == nil {
		err = r.o.Add(ctx, did, names)
	}
	if err != nil {
		r.o.Logger.Debug("the collections of an account could not be asked for", "did", did, "err", err)
		return "failed"
	}
	return "ok"
}
