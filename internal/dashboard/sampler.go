package dashboard

import (
	"context"
	"sync"
	"time"
)

const (
	// sampleEvery is how often counts are looked at.
	sampleEvery = 2 * time.Second
	// samples are kept for ten minutes.
	samples = 300
)

// Counts only rise while the program runs.
type Counts struct {
	Events, Bytes       uint64 // durable in the log
	Served, ServedBytes uint64 // written to consumers
	Dropped             uint64 // frames of hosts that broke a rule
}

// Rates are per second.
type Rates struct {
	Events      float64 `json:"events"`
	Bytes       float64 `json:"bytes"`
	Served      float64 `json:"served"`
	ServedBytes float64 `json:"servedBytes"`
	Dropped     float64 `json:"dropped"`
}

// sampler turns counts into rates and keeps those of the last minutes.
type sampler struct {
	counts func() Counts
	now    func() time.Time

	mu    sync.Mutex
	last  Counts
	at    time.Time
	rates []Rates // oldest first
}

func newSampler(counts func() Counts, now func() time.Time) *sampler {
	return &sampler{counts: counts, now: now, last: counts(), at: now()}
}

// run samples until ctx ends.
func (s *sampler) run(ctx context.Context) {
	tick := time.NewTicker(sampleEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			s.sample()
		case <-ctx.Done():
			return
		}
	}
}

func (s *sampler) sample() {
	c, now := s.counts(), s.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	seconds := now.Sub(s.at).Seconds()
	if seconds <= 0 {
		return
	}
	per := func(now, before uint64) float64 { return float64(now-min(now, before)) / seconds }
	r := Rates{
		Events: per(c.Events, s.last.Events), Bytes: per(c.Bytes, s.last.Bytes), Served: per(c.Served, s.last.Served),
		ServedBytes: per(c.ServedBytes, s.last.ServedBytes), Dropped: per(c.Dropped, s.last.Dropped),
	}
	if len(s.rates) == samples {
		copy(s.rates, s.rates[1:])
		s.rates = s.rates[:samples-1]
	}
	s.rates = append(s.rates, r)
	s.last, s.at = c, now
}

// history returns the rates that are kept, oldest first.
func (s *sampler) history() []Rates {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Rates(nil), s.rates...)
}

// current is the rate now, zero before the first sample.
func (s *sampler) current() Rates {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.rates); n > 0 {
		return s.rates[n-1]
	}
	return Rates{}
}
