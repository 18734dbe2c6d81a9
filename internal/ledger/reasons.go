package ledger

import (
	"maps"
	"sync"
	"sync/atomic"
)

// Outcome is what becomes of a frame that is not accepted, or of a connection.
// Numbers are part of the format.
type Outcome uint8

// The outcomes that have reasons.
const (
	Dropped     Outcome = iota + 1 // the frame broke a rule
	Ignored                        // the frame says nothing new
	Closed                         // the connection was closed for what the host did
	numOutcomes = iota
)

// Other is the reason, and the host, of what is beyond a bound.
const Other = "other"

const (
	// maxReasons bounds how many pairs of outcome and reason are told apart, the ones
	// that stand for the rest included. The code knows about 90.
	maxReasons = 128
	// maxReason is the longest reason, in bytes.
	maxReason = 64
)

// pair is an outcome with its reason.
type pair struct {
	outcome Outcome
	reason  string
}

// reasons numbers pairs as they first come. Looking one up takes no lock.
type reasons struct {
	numbers atomic.Pointer[map[pair]uint8]

	mu    sync.Mutex
	pairs []pair // by number; the first are those that stand for the rest
}

func newReasons() *reasons {
	r := new(reasons)
	numbers := make(map[pair]uint8)
	for o := Dropped; o <= numOutcomes; o++ {
		p := pair{o, Other}
		numbers[p] = uint8(len(r.pairs))
		r.pairs = append(r.pairs, p)
	}
	r.numbers.Store(&numbers)
	return r
}

// number of a pair, its own or that of the rest.
func (r *reasons) number(o Outcome, reason string) uint8 {
	if n, ok := (*r.numbers.Load())[pair{o, reason}]; ok {
		return n
	}
	return r.add(pair{o, reason})
}

func (r *reasons) add(p pair) uint8 {
	r.mu.Lock()
	defer r.mu.Unlock()
	old := *r.numbers.Load()
	if n, ok := old[p]; ok {
		return n
	}
	if len(r.pairs) >= maxReasons || len(p.reason) > maxReason || p.reason == "" {
		return old[pair{p.outcome, Other}]
	}
	n := uint8(len(r.pairs))
	r.pairs = append(r.pairs, p)
	numbers := maps.Clone(old)
	numbers[p] = n
	r.numbers.Store(&numbers)
	return n
}

// list returns the pairs by number.
func (r *reasons) list() []pair {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.pairs[:len(r.pairs):len(r.pairs)]
}
