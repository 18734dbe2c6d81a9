package dashboard

import (
	"math"
	"time"

	"github.com/cistern-archive/cistern/internal/xrpc"
)

// The picture of the tiers, in its own units.
const (
	picture   = 1000.0
	barHeight = 26
	barGap    = 12
)

// tiersPart is the log as bars, one a tier, over how far back its events are: the present is
// at the right, and the scale is logarithmic.
type tiersPart struct {
	xrpc.StreamInfo
	Bars      []bar
	Height    int
	Ticks     []tick
	ShipBytes int64
	ShipAge   time.Duration // of the oldest event that is sealed and not in the archive, 0 for none
	Used      int64
	Budget    int64
	Percent   float64
}

type bar struct {
	xrpc.TierInfo
	X, Width float64
	Y        int
	Events   uint64
}

type tick struct {
	X    float64
	Back string
}

func (d *Dashboard) tiers() tiersPart {
	p := tiersPart{StreamInfo: d.s.Stream()}
	oldest, tip := p.Oldest.Seq, p.Newest.Seq
	back := func(seq uint64) float64 { // where seq stands
		span := math.Log1p(float64(tip - min(tip, oldest)))
		if span == 0 {
			return picture
		}
		return picture * (1 - math.Log1p(float64(tip-min(tip, seq)))/span)
	}
	for i, t := range p.Tiers {
		b := bar{TierInfo: t, Y: i * (barHeight + barGap)}
		if t.Last > 0 {
			b.X = max(0, back(t.First))
			b.Width = max(3, back(t.Last)-b.X)
			b.X = min(b.X, picture-b.Width)
			b.Events = t.Last - t.First + 1
		}
		p.Bars = append(p.Bars, b)
	}
	p.Height = len(p.Bars)*(barHeight+barGap) + 16
	if tip > oldest {
		for n := uint64(100); n < tip-oldest; n *= 100 {
			p.Ticks = append(p.Ticks, tick{back(tip - n), count(n)})
		}
	}
	var since int64
	if p.ShipBytes, since = d.s.ShipLag(); since > 0 {
		p.ShipAge = max(0, d.s.Now().Sub(time.UnixMicro(since)))
	}
	if p.Used, p.Budget = d.s.Disk(); p.Budget > 0 {
		p.Percent = min(100, 100*float64(p.Used)/float64(p.Budget))
	}
	return p
}
