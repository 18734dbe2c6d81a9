package ledger

import (
	"cmp"
	"slices"
	"time"
)

// Row is what was counted of a host in an hour.
type Row struct {
	Host string
	Hour int64 // hours since 1970, UTC
	Counts
	// Outcomes are sorted by outcome and reason, and each stands there once.
	Outcomes []Reason
}

// Reason counts an outcome that has one.
type Reason struct {
	Outcome Outcome
	Reason  string
	Count   uint64
}

// Start is when the row's hour begins.
func (r *Row) Start() time.Time { return time.Unix(r.Hour*3600, 0).UTC() }

// Of sums an outcome over its reasons.
func (r *Row) Of(o Outcome) (n uint64) {
	for i := range r.Outcomes {
		if r.Outcomes[i].Outcome == o {
			n += r.Outcomes[i].Count
		}
	}
	return n
}

// add puts what was counted later to what was counted before.
func (r *Row) add(later *Row) {
	r.Counts.add(&later.Counts)
	if len(later.Outcomes) == 0 {
		return
	}
	all := slices.Concat(r.Outcomes, later.Outcomes)
	sortReasons(all)
	sums := all[:0]
	for _, o := range all {
		if n := len(sums); n > 0 && byReason(sums[n-1], o) == 0 {
			sums[n-1].Count += o.Count
			continue
		}
		sums = append(sums, o)
	}
	r.Outcomes = sums
}

func sortReasons(list []Reason) { slices.SortFunc(list, byReason) }

func byReason(a, b Reason) int {
	return cmp.Or(cmp.Compare(a.Outcome, b.Outcome), cmp.Compare(a.Reason, b.Reason))
}

// hourOf is the hour that a time is in.
func hourOf(t time.Time) int64 { return max(t.Unix(), 0) / 3600 }
