package replay

import (
	"fmt"
	"net/http"
	"net/netip"
	"time"

	"golang.org/x/time/rate"
)

// enter counts a connection in, unless that is one too many.
func (s *Server) enter(addr netip.Addr) *refusal {
	s.mu.Lock()
	defer s.mu.Unlock()
	site := siteOf(addr)
	switch {
	case s.stopping.Load():
		return &refusal{http.StatusServiceUnavailable, "ShuttingDown", "the relay is shutting down", "5"}
	case s.entered >= s.opts.MaxConsumers:
		s.metrics.refused.WithLabelValues("consumers").Inc()
		return &refusal{http.StatusServiceUnavailable, "TooManyConsumers", fmt.Sprintf("%d consumers are connected, which is all this relay takes", s.entered), "60"}
	case s.opts.MaxPerAddress > 0 && !addr.IsLoopback() && s.from[site] >= s.opts.MaxPerAddress:
		s.metrics.refused.WithLabelValues("address").Inc()
		return &refusal{http.StatusTooManyRequests, "RateLimitExceeded", fmt.Sprintf("%d consumers are connected from %s already", s.from[site], site), "60"}
	}
	s.entered++
	s.from[site]++
	s.done.Add(1)
	return nil
}

func (s *Server) exit(addr netip.Addr) {
	s.mu.Lock()
	site := siteOf(addr)
	s.entered--
	if s.from[site]--; s.from[site] == 0 {
		delete(s.from, site)
	}
	s.mu.Unlock()
	s.done.Done()
}

// siteOf is what counts as one address: an IPv4 address, or the network of 64 bits that
// IPv6 gives to one household.
func siteOf(a netip.Addr) netip.Addr {
	if !a.Is6() {
		return a
	}
	p, err := a.WithZone("").Prefix(64)
	if err != nil {
		return a
	}
	return p.Addr()
}

// pacer limits what one consumer gets from files.
type pacer struct{ limiter *rate.Limiter }

func newPacer(bytes int64) pacer {
	if bytes <= 0 {
		return pacer{}
	}
	return pacer{rate.NewLimiter(rate.Limit(bytes), int(max(bytes, 2*maxWrite)))}
}

// after is how long to wait when n bytes were sent.
func (p pacer) after(n int) time.Duration {
	if p.limiter == nil {
		return 0
	}
	return p.limiter.ReserveN(time.Now(), min(n, p.limiter.Burst())).Delay()
}
