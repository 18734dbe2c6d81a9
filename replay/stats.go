package replay

import (
	"math"
	"sync/atomic"
	"time"
)

// rateWindow is over how long a consumer's rate is averaged.
const rateWindow = 10 * time.Second

// consumerStats is what an operator may ask of a consumer. Its writer alone changes it.
type consumerStats struct {
	position atomic.Uint64 // seq of the last event written
	tier     atomic.Uint32
	events   [tiers]atomic.Uint64 // written, by tier
	bytes    [tiers]atomic.Uint64
	rate     atomic.Uint64 // bits of a float64: events a second, as of at
	at       atomic.Int64  // Unix ns

	pending uint64 // events since at; the writer's
}

func (s *consumerStats) sent(t Tier, events, bytes int) {
	s.events[t].Add(uint64(events))
	s.bytes[t].Add(uint64(bytes))
	s.pending += uint64(events)
}

func (s *consumerStats) reached(pos uint64, t Tier, now time.Time) {
	s.position.Store(pos)
	s.tier.Store(uint32(t))
	since := time.Duration(now.UnixNano() - s.at.Load())
	if since < rateWindow/10 {
		return
	}
	s.rate.Store(math.Float64bits(s.rateAfter(since, float64(s.pending))))
	s.at.Store(now.UnixNano())
	s.pending = 0
}

// rateAfter is the rate when events more came in the time since the last look.
func (s *consumerStats) rateAfter(since time.Duration, events float64) float64 {
	keep := math.Exp(-since.Seconds() / rateWindow.Seconds())
	return math.Float64frombits(s.rate.Load())*keep + events/since.Seconds()*(1-keep)
}

// ConsumerInfo is what an operator sees of a consumer.
type ConsumerInfo struct {
	RemoteAddr string // of the client, behind trusted proxies too
	UserAgent  string
	Since      time.Time
	Position   uint64 // seq of the last event written
	Lag        uint64 // how far that is below the log's tip
	Tier       string // where that came from: memory, disk or archive
	Events     uint64
	Bytes      uint64
	Rate       float64 // events a second, over about the last 10 s
}

func (c *consumer) info(tip uint64, now time.Time) ConsumerInfo {
	s := &c.stats
	i := ConsumerInfo{
		RemoteAddr: c.remote, UserAgent: c.agent, Since: c.since,
		Position: s.position.Load(), Tier: Tier(s.tier.Load()).String(),
	}
	i.Lag = tip - min(tip, i.Position)
	for t := range s.events {
		i.Events += s.events[t].Load()
		i.Bytes += s.bytes[t].Load()
	}
	i.Rate = s.rateAfter(max(time.Duration(now.UnixNano()-s.at.Load()), 1), 0)
	return i
}

// Consumers lists who is connected.
func (s *Server) Consumers() []ConsumerInfo {
	tip, now := s.opts.Source.Log.Tip(), time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]ConsumerInfo, 0, len(s.consumers))
	for c := range s.consumers {
		out = append(out, c.info(tip, now))
	}
	return out
}
