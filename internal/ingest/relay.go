package ingest

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cistern-archive/cistern/internal/frame"
)

// RelayOptions say how an upstream is read that is a relay: it has decided who speaks
// for an account and which status that has, and its word is taken for that.
type RelayOptions struct {
	// KeepSeq gives the events the relay's numbers, in its order. The log must be one of
	// borrowed numbers, and the relay the only upstream.
	KeepSeq bool
	// From is where the log is in the relay's numbers, with KeepSeq; the name in it is
	// that of the relay whose events are the log's last.
	From Position
	// Base is what is added to the relay's numbers in the log, with KeepSeq: 0 until it
	// restarts them.
	Base uint64
	// Cursor is where a relay is begun with that the log has nothing of.
	Cursor uint64
	// Last returns the last events of the log, in order, with KeepSeq.
	Last func(ctx context.Context) ([]Known, error)
	// Merge recognises what another relay has brought already; nil with one relay.
	Merge *Merge
	// Unchecked takes the relay's word for signatures and proofs too (--verify=off).
	Unchecked bool
}

// AddRelay reads a relay from now on, for ever. It is of the operator's own word: http,
// ports and private addresses are allowed. Adding one that is being read changes nothing.
func (m *Manager) AddRelay(rawURL string, o RelayOptions) error {
	return m.add(rawURL, true, func(addr address) *host {
		from := m.from[addr.name]
		if o.KeepSeq {
			from = o.From
		}
		if from == (Position{}) {
			from.Floor = o.Cursor
		}
		h := newHost(m, addr, from)
		h.relay = newRelayed(h, &o)
		h.relay.expose(m.opts.Registerer)
		m.wg.Go(h.relay.run)
		m.wg.Go(h.relay.watch)
		return h
	})
}

const (
	// lineEvents is how many events of a relay may be undecided. They lie in the buffers
	// that they were read into: 4 MiB, and large ones by the budget of what is read.
	lineEvents = 256
	// asksAhead is how many identities are asked for before their events' turn.
	asksAhead = 64
)

// relayed is what is different about a host that is a relay. Its events are decided one
// after the other, in the relay's order, by a goroutine of their own; meanwhile the
// identities of those behind are asked for.
//
//	reader ──► line ──► run: identity, verify, append
//	   ├─ ask ahead ──► Resolver
//	   └─ nothing in line, nobody to ask: verify, append
type relayed struct {
	h    *host
	opts RelayOptions

	line   chan waiting  // in the relay's order; never full, since a slot comes first
	slots  chan struct{} // holds one for each event that is not decided
	freed  int           // slots to be given back; run's
	parked parked
	asked  inFlight // accounts whose identities are asked for ahead
	// unanswered are the accounts whose key nobody said in time, lately: their events do
	// not wait again.
	unanswered *recent
	behind     behind
	doubt      doubt  // the reader's
	stream     string // which the relay said it is of, when it said so; the reader's
	// broken is why nothing is read until somebody decides, nil while it is.
	broken atomic.Pointer[NumberingError]
}

func newRelayed(h *host, o *RelayOptions) *relayed {
	return &relayed{
		h: h, opts: *o,
		line: make(chan waiting, lineEvents), slots: make(chan struct{}, lineEvents), asked: inFlight{m: make(map[string]struct{})},
		unanswered: newRecent(h.m.opts.Bounds.StatusEvery, 1),
	}
}

// enter puts an event into the line, waiting for room. kept says that the line has the
// message now.
func (y *relayed) enter(ctx context.Context, r *reader, m *message) (kept bool, err error) {
	if rej := form(&m.ev); rej != nil {
		y.h.reject(m, rej)
		r.win.pass(m.ev.Seq)
		return false, nil
	}
	y.behind.heard(m.ev.Seq)
	if done, err := y.atOnce(r, m); done {
		return false, err
	}
	if !y.slot(ctx, r) {
		return false, ErrStopped
	}
	y.askAhead(m)
	y.h.m.metrics.waiting.Inc()
	y.line <- waiting{m: m, win: r.win, ticket: r.win.enter(m.ev.Seq), arrived: time.Now()}
	return true, nil
}

// atOnce decides an event in the reader's goroutine when none is before it and nobody need
// be asked, and says whether it did.
func (y *relayed) atOnce(r *reader, m *message) (done bool, err error) {
	if len(y.slots) > 0 { // else run has nothing, and gets nothing but from here
		return false, nil
	}
	s := subject{ev: &m.ev, win: r.win}
	if y.needsKey(s.ev) {
		var ok bool
		if s.id, ok, s.idErr = y.h.m.opts.Resolver.Cached(s.ev.DID); !ok {
			return false, nil
		}
	}
	out := y.decide(&s)
	if out.park || out.ask != nothing && !y.h.alreadyAsked(s.ev.DID, out.ask) {
		return false, nil
	}
	return true, y.h.decided(m, out, func() {
		y.behind.note(&m.ev, y.h.m.opts.Now())
		r.win.pass(m.ev.Seq)
	})
}

// slot waits for a place in the line. That is nobody's silence.
func (y *relayed) slot(ctx context.Context, r *reader) bool {
	select {
	case y.slots <- struct{}{}:
		return true
	default:
	}
	y.h.m.metrics.blocked.Inc()
	r.up.paused.Store(true)
	defer r.up.paused.Store(false)
	select {
	case y.slots <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

// askAhead asks for an identity that will be needed, so that the event need not wait for
// it when its turn comes.
func (y *relayed) askAhead(m *message) {
	if !y.needsKey(&m.ev) {
		return
	}
	if _, ok, _ := y.h.m.opts.Resolver.Cached(m.ev.DID); ok {
		return
	}
	y.ask(m.ev.DID, func(ctx context.Context, did string) {
		_, _ = y.h.m.opts.Resolver.Lookup(ctx, did) // the resolver remembers the answer
	})
}

// ask calls f in the background, unless the account is being asked about already, or too
// many others are.
func (y *relayed) ask(did string, f func(ctx context.Context, did string)) {
	did = strings.Clone(did) // f may outlive the event
	if !y.asked.begin(did) {
		return
	}
	y.h.m.wg.Go(func() {
		defer y.asked.end(did)
		f(y.h.m.reading, did)
	})
}

// inFlight is the accounts that somebody is being asked about.
type inFlight struct {
	mu sync.Mutex
	m  map[string]struct{}
}

// begin says whether the account may be asked about now.
func (f *inFlight) begin(did string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, on := f.m[did]; on || len(f.m) == asksAhead {
		return false
	}
	f.m[did] = struct{}{}
	return true
}

func (f *inFlight) end(did string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.m, did)
}

// run decides what is in line until all work ends. What is left then was not counted as
// done.
func (y *relayed) run() {
	defer y.parked.stop()
	for {
		var ok bool
		select {
		case it := <-y.line:
			ok = y.next(it)
		case <-y.parked.tick():
			ok = y.unpark(false)
		case <-y.h.m.reading.Done():
			return
		}
		if !ok {
			return
		}
	}
}

// next takes an event out of the line. It returns false when all work ends first.
func (y *relayed) next(it waiting) bool {
	if y.parked.full() && !y.unpark(true) {
		return false
	}
	if y.parked.has(it.m.ev.DID) {
		y.parked.add(it)
		return true
	}
	park, ok := y.settle(&it)
	switch {
	case !ok:
	case park:
		y.parked.add(it)
	default:
		y.done(&it)
	}
	return ok
}

// done gives back what a decided event had: its slot together with others, so that a
// reader who waits for one does not wake for each.
func (y *relayed) done(it *waiting) {
	y.behind.note(&it.m.ev, y.h.m.opts.Now())
	it.win.leave(it.ticket)
	it.m.release()
	y.h.m.metrics.waiting.Dec()
	if y.freed++; y.freed < lineEvents/4 && len(y.line) > 0 {
		return
	}
	for ; y.freed > 0; y.freed-- {
		<-y.slots
	}
}

// settle asks whom it must and decides an event, unless that must be parked. ok is false
// when all work ends first.
func (y *relayed) settle(it *waiting) (park, ok bool) {
	s := &subject{ev: &it.m.ev, win: it.win, waited: it.waited}
	wait := backoff{base: y.h.m.opts.Bounds.HoldRetry, cap: y.h.m.opts.Bounds.HoldRetryCap, jitter: halfJitter}
	ask := y.h.lookup
	if !y.needsKey(s.ev) {
		ask = nil
	}
	for {
		if ask != nil {
			if err := ask(s); err != nil {
				again := y.hold(it, &wait, err)
				if y.h.m.reading.Err() != nil {
					return false, false
				}
				if again {
					continue
				}
				s.unanswered = true
			}
		}
		out := y.decide(s)
		if out.park {
			return true, true
		}
		if out.ask == nothing || s.unanswered {
			return false, y.h.decided(it.m, out, func() {}) == nil
		}
		ask = y.h.asker(out.ask)
	}
}

// hold waits until somebody who failed to answer may do so, and says whether to ask again.
func (y *relayed) hold(it *waiting, wait *backoff, cause error) bool {
	now, did := time.Now(), it.m.ev.DID
	given := y.unanswered.spent(did, now)
	left := y.h.m.opts.Bounds.RelayHoldFor - now.Sub(it.arrived)
	if left > 0 && !given {
		y.h.m.metrics.held.Inc()
		defer y.h.m.metrics.held.Dec()
		return sleep(y.h.m.reading, min(wait.next(), left))
	}
	if !given {
		y.unanswered.use(did, now)
		y.h.log.Warn("nobody says what the key of an account is: its events are taken unverified for a while", "did", did, "err", cause)
	}
	return false
}

// needsKey says whether the event is verified by the account's key.
func (y *relayed) needsKey(ev *frame.Event) bool {
	return !y.opts.Unchecked && (ev.Kind == frame.Commit || ev.Kind == frame.Sync)
}
