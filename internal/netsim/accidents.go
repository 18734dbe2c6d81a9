package netsim

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"
)

// Accident is a kind of mishap that befalls a host.
type Accident string

// The accidents. Each ends by itself, and nothing that a host has is lost by one.
const (
	AccidentRestart Accident = "restart" // the host and its listener go, and come back
	AccidentStall   Accident = "stall"   // it holds events back, its connections open
	AccidentCut     Accident = "cut"     // its connections end without a close frame
	AccidentRST     Accident = "rst"     // they end with a TCP reset, in the middle of a frame or not
	AccidentSilence Accident = "silence" // it says nothing, not even pongs, until the subscriber leaves
)

// AccidentOptions says what happens, and how often.
type AccidentOptions struct {
	Seed  uint64
	Kinds []Accident    // default: all
	Every time.Duration // mean time from one to the next, over all hosts; default 1 s
	Down  time.Duration // the longest that a host is away or stalled; default 10 s
	// Patience is how long an accident waits for the proof that it was felt, once it
	// is over; default 3 min.
	Patience time.Duration
}

func (o *AccidentOptions) ensureDefaults() {
	if len(o.Kinds) == 0 {
		o.Kinds = []Accident{AccidentRestart, AccidentStall, AccidentCut, AccidentRST, AccidentSilence}
	}
	o.Every = orDefault(o.Every, time.Second)
	o.Down = orDefault(o.Down, 10*time.Second)
	o.Patience = orDefault(o.Patience, 3*time.Minute)
}

// AccidentCount says how often a kind of accident happened.
type AccidentCount struct {
	Injected int `json:"injected"`
	// Felt of them: a subscriber lost its connection and came back; for a stall: an
	// event was held back and was sent afterwards.
	Felt int `json:"felt"`
}

// Accidents makes hosts with a subscriber suffer, at random times, until the context
// ends; then it lets what has begun end, and returns what happened. A host suffers one
// accident at a time.
func (n *Network) Accidents(ctx context.Context, o AccidentOptions) (map[Accident]AccidentCount, error) {
	o.ensureDefaults()
	a := &accidents{
		net: n, opts: o, rng: rand.New(rand.NewPCG(seedOf(o.Seed, "accidents", 0))),
		busy: make(map[*Host]bool), counts: make(map[Accident]AccidentCount),
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-ctx.Done():
			a.wg.Wait()
			return a.counts, a.err
		}
		a.happen()
		timer.Reset(time.Duration(a.rng.ExpFloat64() * float64(o.Every)))
	}
}

// accidents is a run of Network.Accidents.
type accidents struct {
	net  *Network
	opts AccidentOptions
	rng  *rand.Rand // of the one goroutine that begins accidents
	wg   sync.WaitGroup

	mu     sync.Mutex // guards all below
	busy   map[*Host]bool
	counts map[Accident]AccidentCount
	err    error
}

// happen begins an accident, unless the host that it chooses is in no state for one.
func (a *accidents) happen() {
	h := a.net.hosts[a.rng.IntN(len(a.net.hosts))]
	kind := a.opts.Kinds[a.rng.IntN(len(a.opts.Kinds))]
	down := time.Duration(a.rng.Int64N(int64(a.opts.Down))) + time.Millisecond
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.busy[h] || h.Subscribers() == 0 {
		return
	}
	a.busy[h] = true
	a.wg.Go(func() {
		injected, felt, err := a.suffer(h, kind, down)
		a.mu.Lock()
		defer a.mu.Unlock()
		delete(a.busy, h)
		c := a.counts[kind]
		if injected {
			c.Injected++
		}
		if felt {
			c.Felt++
		}
		a.counts[kind] = c
		if a.err == nil && err != nil {
			a.err = fmt.Errorf("%s of host %s: %w", kind, h.Name, err)
		}
	})
}

// suffer has one accident from its beginning to the proof that it was felt.
func (a *accidents) suffer(h *Host, kind Accident, down time.Duration) (injected, felt bool, err error) {
	joined := h.Joined()
	back := func() bool { return h.Joined() > joined }
	switch kind {
	case AccidentRestart:
		hit := h.Subscribers() > 0
		if err := h.Stop(); err != nil {
			return false, false, err
		}
		time.Sleep(down)
		if err := h.Start(); err != nil {
			return true, false, err
		}
		return hit, hit && a.wait(back), nil
	case AccidentCut:
		hit := h.Disconnect() > 0
		return hit, hit && a.wait(back), nil
	case AccidentRST:
		hit := h.Abort() > 0
		return hit, hit && a.wait(back), nil
	case AccidentSilence:
		h.Silence(true)
		left := a.wait(func() bool { return back() || h.Subscribers() == 0 })
		h.Silence(false)
		return true, left && a.wait(back), nil
	case AccidentStall:
		return a.stall(h, down)
	}
	return false, false, fmt.Errorf("no accident is called %q", kind)
}

// stall holds an event back, which it makes, and lets it go.
func (a *accidents) stall(h *Host, down time.Duration) (injected, felt bool, err error) {
	h.Stall(true)
	defer h.Stall(false)
	index, err := h.postAny()
	if err != nil || index < 0 {
		return false, false, err
	}
	time.Sleep(down)
	held := !a.net.wasSent(index)
	h.Stall(false)
	return true, held && a.wait(func() bool { return a.net.wasSent(index) }), nil
}

// postAny emits a commit of any active account of the host and returns its place in the
// ledger, -1 when there is no such account.
func (h *Host) postAny() (int, error) {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	for _, acct := range h.accounts {
		if acct.status == "" {
			e, err := h.commit(acct, shape{})
			if err != nil {
				return -1, err
			}
			return e.index, nil
		}
	}
	return -1, nil
}

func (n *Network) wasSent(index int) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.ledger[index].sent.Load() > 0
}

// wait waits for a condition, with patience.
func (a *accidents) wait(ok func() bool) bool {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(a.opts.Patience); !ok(); <-tick.C {
		if time.Now().After(deadline) {
			return false
		}
	}
	return true
}
