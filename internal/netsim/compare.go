package netsim

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Comparison holds what a relay served against the ledger. Give it every frame in
// the order served; then ask for the report.
type Comparison struct {
	// Own says which frames the relay may have made itself, such as its own
	// #account; they are counted and otherwise let be. Nil: none.
	Own func(frame []byte, p Peeked) bool

	ledger   []Entry
	byWant   map[Digest][]int // entries by the frame to be served, in ledger order
	byEvent  map[string]int   // entries by (did, kind, rev), to recognise altered bytes
	served   []int            // how often each entry was served
	lastOf   map[string]int   // per account, the newest entry served
	lastSeq  uint64
	problems Report
}

// Report is what a comparison found.
type Report struct {
	Served     int      // frames given
	Matched    int      // of them, the first serving of an accepted entry
	Own        int      // of them, the relay's own
	Missing    []Entry  // to be accepted, and not served
	Overtaken  []Entry  // of them, those that a later event of their account was served without
	Doubled    []Entry  // served more than once
	Disordered []Entry  // served before an earlier event of their account
	Forbidden  []Entry  // to be dropped or ignored, and served
	Altered    []string // an event of the ledger with other bytes
	Unexpected []string // unreadable, or no event of the ledger
	SeqErrors  []string // a number that is not above the one before
	Unsent     []Entry  // never written to a socket: the relay could not know them
}

// NewComparison prepares a comparison with the ledger.
func NewComparison(ledger []Entry) *Comparison {
	c := &Comparison{
		ledger: ledger, byWant: make(map[Digest][]int, len(ledger)), byEvent: make(map[string]int, len(ledger)),
		served: make([]int, len(ledger)), lastOf: make(map[string]int),
	}
	for i := range ledger {
		e := &ledger[i]
		c.byWant[e.Want] = append(c.byWant[e.Want], i)
		if e.Rev != "" {
			c.byEvent[e.DID+e.Kind+e.Rev] = i
		}
	}
	return c
}

// Compare compares frames, in the order served, with the ledger.
func Compare(ledger []Entry, frames [][]byte) Report {
	c := NewComparison(ledger)
	for _, f := range frames {
		c.Add(f)
	}
	return c.Report()
}

// Add takes the next frame that the relay served.
func (c *Comparison) Add(frame []byte) {
	r := &c.problems
	r.Served++
	p, err := Peek(frame)
	if err != nil {
		r.Unexpected = append(r.Unexpected, fmt.Sprintf("frame %d cannot be read: %v", r.Served, err))
		return
	}
	if p.Seq <= c.lastSeq {
		r.SeqErrors = append(r.SeqErrors, fmt.Sprintf("seq %d after %d", p.Seq, c.lastSeq))
	}
	c.lastSeq = p.Seq
	candidates := c.byWant[p.Digest]
	if len(candidates) == 0 {
		c.unknown(frame, p)
		return
	}
	c.count(c.choose(candidates), p)
}

// choose takes the entry that this serving is of, when several have the same bytes:
// the first acceptable one that was not served yet.
func (c *Comparison) choose(candidates []int) int {
	for _, want := range []Outcome{Accept, Either} {
		for _, i := range candidates {
			if c.ledger[i].Outcome == want && c.served[i] == 0 {
				return i
			}
		}
	}
	for _, i := range candidates {
		if c.ledger[i].Outcome == Accept {
			return i
		}
	}
	return candidates[0]
}

func (c *Comparison) count(i int, p Peeked) {
	r, e := &c.problems, c.ledger[i]
	c.served[i]++
	switch {
	case e.Outcome == Drop || e.Outcome == Ignore:
		r.Forbidden = append(r.Forbidden, e)
	case c.served[i] > 1:
		r.Doubled = append(r.Doubled, e)
	default:
		r.Matched++
		if last, ok := c.lastOf[p.DID]; ok && last > i {
			r.Disordered = append(r.Disordered, e)
		} else {
			c.lastOf[p.DID] = i
		}
	}
}

func (c *Comparison) unknown(frame []byte, p Peeked) {
	r := &c.problems
	if c.Own != nil && c.Own(frame, p) {
		r.Own++
		return
	}
	what := fmt.Sprintf("seq %d %s of %s rev %q time %s", p.Seq, p.Kind, p.DID, p.Rev, p.Time)
	if i, ok := c.byEvent[p.DID+p.Kind+p.Rev]; ok && p.Rev != "" {
		r.Altered = append(r.Altered, fmt.Sprintf("%s: not the bytes of entry %d", what, i))
		return
	}
	r.Unexpected = append(r.Unexpected, what)
}

// Report closes the comparison: what was to be accepted and did not come is missing.
func (c *Comparison) Report() Report {
	r := c.problems
	for i, e := range c.ledger {
		switch {
		case e.Gone: // the relay may never have seen it, and cannot ask again
		case e.Sent == 0 && e.Outcome != Either:
			r.Unsent = append(r.Unsent, e)
		case e.Outcome == Accept && c.served[i] == 0:
			r.Missing = append(r.Missing, e)
			if c.lastOf[e.DID] > i {
				r.Overtaken = append(r.Overtaken, e)
			}
		}
	}
	return r
}

// Err is nil when the relay served exactly what it should. Entries that were never
// sent are an error too: a test that waits for them is wrong, or its fault did not fire.
func (r Report) Err() error {
	var errs []error
	say := func(what string, n int, first any) {
		if n > 0 {
			errs = append(errs, fmt.Errorf("%d %s, the first: %v", n, what, first))
		}
	}
	for _, l := range []struct {
		what string
		list []Entry
	}{
		{"missing", r.Missing}, {"doubled", r.Doubled}, {"out of order", r.Disordered},
		{"served that must not be", r.Forbidden}, {"never sent", r.Unsent},
	} {
		say(l.what, len(l.list), first(l.list))
	}
	say("altered", len(r.Altered), first(r.Altered))
	say("unexpected", len(r.Unexpected), first(r.Unexpected))
	say("with bad numbers", len(r.SeqErrors), first(r.SeqErrors))
	return errors.Join(errs...)
}

func first[T any](list []T) any {
	if len(list) == 0 {
		return nil
	}
	return list[0]
}

// String describes an entry in one line.
func (e Entry) String() string {
	parts := []string{fmt.Sprintf("#%d %s seq %d %s %s", e.Index, e.Host, e.HostSeq, e.Kind, e.DID)}
	for _, s := range []string{e.Rev, e.Dialect, e.Lie} {
		if s != "" {
			parts = append(parts, s)
		}
	}
	parts = append(parts, fmt.Sprintf("%s T%d sent %d", e.Outcome, e.Row, e.Sent))
	return strings.Join(slices.Clip(parts), " ")
}
