package ingest

import "time"

const (
	// maxParked bounds the events of a relay that wait for what another one may bring: half
	// of the line, so that the other half always moves.
	maxParked = lineEvents / 2
	// lookEvery is how often is looked whether it came.
	lookEvery = 50 * time.Millisecond
)

// parked are events of a relay, with all that came after them of the same account, before
// which the log lacks something. Another relay may bring it: then nothing is lost that any of
// them has. It is used by one goroutine.
type parked struct {
	m      map[string][]waiting
	n      int
	ticker *time.Ticker // nil while nothing is parked
}

func (p *parked) full() bool { return p.n >= maxParked }

func (p *parked) has(did string) bool { return p.n > 0 && len(p.m[did]) > 0 }

func (p *parked) add(it waiting) {
	if p.m == nil {
		p.m = make(map[string][]waiting)
	}
	p.m[it.m.ev.DID] = append(p.m[it.m.ev.DID], it)
	if p.n++; p.ticker == nil {
		p.ticker = time.NewTicker(lookEvery)
	}
}

// tick never comes while nothing is parked.
func (p *parked) tick() <-chan time.Time {
	if p.ticker == nil {
		return nil
	}
	return p.ticker.C
}

func (p *parked) stop() {
	if p.ticker != nil {
		p.ticker.Stop()
		p.ticker = nil
	}
}

// unpark decides what need not wait any longer, or, with all, everything. It returns false
// when all work ends first.
func (y *relayed) unpark(all bool) bool {
	now, p := time.Now(), &y.parked
	for did, items := range p.m {
		for len(items) > 0 {
			it := &items[0]
			it.waited = all || now.Sub(it.arrived) >= y.h.m.opts.Bounds.MergeFor
			park, ok := y.settle(it)
			if !ok {
				return false
			}
			if park {
				break
			}
			y.done(it)
			items[0] = waiting{}
			items = items[1:]
			p.n--
		}
		if p.m[did] = items; len(items) == 0 {
			delete(p.m, did)
		}
	}
	if p.n == 0 {
		p.stop()
	}
	return true
}
