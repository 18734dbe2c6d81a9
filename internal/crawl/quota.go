package crawl

import (
	"net/netip"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/time/rate"
)

const (
	day = 24 * time.Hour
	// clientBurst and clientEvery are how many hosts one client may ask for at once, and
	// how often one more.
	clientBurst = 10
	clientEvery = 6 * time.Minute
	// maxClients bounds the clients that are remembered. Beyond it the one that asked
	// longest ago is forgotten; what all together may do is bounded by the rest.
	maxClients = 16_384
)

// quota limits what strangers ask for: each client, and the hosts that come in a day.
type quota struct {
	mu      sync.Mutex
	clients *lru.Cache[netip.Prefix, *rate.Limiter]
	came    []time.Time // hosts of the last day, oldest first
	trying  int         // hosts that are being validated
}

func newQuota() (*quota, error) {
	clients, err := lru.New[netip.Prefix, *rate.Limiter](maxClients)
	return &quota{clients: clients}, err
}

// client is whom an address stands for: of IPv6, one subscriber has at least a /64.
func client(a netip.Addr) netip.Prefix {
	a = a.Unmap().WithZone("")
	bits := 64
	if a.Is4() {
		bits = 32
	}
	p, err := a.Prefix(bits)
	if err != nil {
		return netip.Prefix{} // an address that is none; all of these are one client
	}
	return p
}

// take asks to validate one host for a client; perDay is how many may come in a day.
// When it is allowed, done must be called with whether the host came.
func (q *quota) take(from netip.Addr, perDay int64, now time.Time) (done func(came bool), err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.came) > 0 && now.Sub(q.came[0]) >= day {
		q.came = q.came[1:]
	}
	if int64(len(q.came)+q.trying) >= perDay {
		after := day
		if len(q.came) > 0 && perDay > 0 {
			after = q.came[0].Add(day).Sub(now)
		} else if perDay > 0 {
			after = time.Minute // those that are being validated may not come
		}
		return nil, &LimitError{"as many new hosts as are allowed in a day have come", after}
	}
	p := client(from)
	l, ok := q.clients.Get(p)
	if !ok {
		l = rate.NewLimiter(rate.Every(clientEvery), clientBurst)
		q.clients.Add(p, l)
	}
	if r := l.ReserveN(now, 1); r.DelayFrom(now) > 0 {
		after := r.DelayFrom(now)
		r.CancelAt(now)
		return nil, &LimitError{"too many new hosts were asked for from your address", after}
	}
	q.trying++
	return func(came bool) {
		q.mu.Lock()
		defer q.mu.Unlock()
		q.trying--
		if came {
			q.came = append(q.came, now)
		}
	}, nil
}

// remember counts hosts that came before this process did. times are sorted.
func (q *quota) remember(times []time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.came = times
}
