package archive

import (
	"fmt"
	"math"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/cistern-archive/cistern/internal/frame"
	"github.com/cistern-archive/cistern/segmentlog"
)

// Filter chooses records. The zero value with EnsureDefaults chooses all.
type Filter struct {
	DIDs        []string  // any of these accounts
	Collections []string  // commits with an op in any of these
	Since       time.Time // witnessed at or after
	Until       time.Time // witnessed before; the zero time for no bound
	First, Last uint64    // seqs, both inclusive; Last 0 for no bound
}

// ParseSeqs reads "A", "A-B", "A-" or "-B" into First and Last.
func (f *Filter) ParseSeqs(s string) error {
	first, last, isRange := strings.Cut(s, "-")
	if !isRange {
		last = first
	}
	for _, p := range []struct {
		to   *uint64
		text string
	}{{&f.First, first}, {&f.Last, last}} {
		if p.text == "" && isRange && s != "-" {
			continue
		}
		v, err := strconv.ParseUint(p.text, 10, 64)
		if err != nil || v == 0 || v > segmentlog.MaxSeq {
			return fmt.Errorf("seqs are A, A-B, A- or -B, from 1 to %d: %q", uint64(segmentlog.MaxSeq), s)
		}
		*p.to = v
	}
	if f.Last != 0 && f.First > f.Last {
		return fmt.Errorf("seqs %q end before they begin", s)
	}
	return nil
}

// query is a filter made ready.
type query struct {
	dids         map[string]bool
	collections  map[string]bool
	since, until int64 // Unix µs
	first, last  uint64
}

func (f *Filter) query() *query {
	q := &query{since: math.MinInt64, until: math.MaxInt64, first: f.First, last: f.Last}
	if q.last == 0 {
		q.last = segmentlog.MaxSeq
	}
	if !f.Since.IsZero() {
		q.since = ceilMicro(f.Since)
	}
	if !f.Until.IsZero() {
		q.until = ceilMicro(f.Until)
	}
	q.dids, q.collections = set(f.DIDs), set(f.Collections)
	return q
}

// ceilMicro is the first microsecond at or after t.
func ceilMicro(t time.Time) int64 {
	us := t.UnixMicro()
	if time.UnixMicro(us).Before(t) {
		us++
	}
	return us
}

func set(names []string) map[string]bool {
	if len(names) == 0 {
		return nil
	}
	m := map[string]bool{}
	for _, n := range names {
		m[n] = true
	}
	return m
}

// past says that no later record can be chosen.
func (q *query) past(seq uint64, witnessed int64) bool { return seq > q.last || witnessed >= q.until }

// span returns the seq after which to read a segment and the seq of the last record
// of the last block to read; false to leave it out.
func (q *query) span(f *segmentlog.Footer) (after, through uint64, ok bool) {
	if f.Name.LastSeq < q.first || f.LastWitnessed < q.since || q.past(f.Name.FirstSeq, f.FirstWitnessed) || !q.mayHold(f) {
		return 0, 0, false
	}
	after = f.Blocks[f.FindTime(q.since)].FirstSeq - 1
	if q.first > 0 {
		after = max(after, q.first-1)
	}
	end := sort.Search(len(f.Blocks), func(i int) bool { return q.past(f.Blocks[i].FirstSeq, f.Blocks[i].FirstWitnessed) })
	return after, f.Blocks[end-1].LastSeq, true
}

// mayHold says whether a segment may have an op in one of the collections.
func (q *query) mayHold(f *segmentlog.Footer) bool {
	if q.collections == nil || f.Collections[""] > 0 {
		return true
	}
	for c := range q.collections {
		if f.Collections[c] > 0 {
			return true
		}
	}
	return false
}

// record judges what stands in the record itself.
func (q *query) record(r *segmentlog.Record) bool {
	return r.Seq >= q.first && r.Witnessed >= q.since && (q.dids == nil || q.dids[string(r.DID)])
}

// event judges what stands in the frame.
func (q *query) event(ev *frame.Event) bool {
	if q.collections == nil {
		return true
	}
	for i := range ev.Ops {
		if c, _, ok := strings.Cut(ev.Ops[i].Path, "/"); ok && q.collections[c] {
			return true
		}
	}
	return false
}
