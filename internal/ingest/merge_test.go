package ingest

import (
	"bytes"
	"errors"
	"strconv"
	"testing"
	"time"

	"github.com/cistern-archive/cistern/internal/frame"
	"github.com/cistern-archive/cistern/internal/ledger"
	"github.com/cistern-archive/cistern/internal/netsim"
	"github.com/cistern-archive/cistern/segmentlog"
)

// newLedger is a ledger in memory.
func newLedger(t *testing.T) *ledger.Ledger {
	t.Helper()
	l := ledger.Open(ledger.Options{})
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

// rowOf is what the ledger has of a host, as one row.
func rowOf(t *testing.T, l *ledger.Ledger, host string) *ledger.Row {
	t.Helper()
	p, err := l.Query(t.Context(), ledger.Query{Host: host, Limit: ledger.MaxLimit})
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Rows) != 1 {
		t.Fatalf("%d rows of %s", len(p.Rows), host)
	}
	return p.Rows[0]
}

// own is how a log with numbers of its own reads relays that are merged.
func (l *memLog) own(t *testing.T) RelayOptions {
	t.Helper()
	g := NewMerge()
	for _, rec := range l.all() {
		ev, err := frame.Parse(rec.Frame)
		if err != nil {
			t.Fatal(err)
		}
		g.Note(ev)
	}
	return RelayOptions{Merge: g}
}

// merging is two relays that have some hosts each, and some both: what one of them
// brings is not what the other is asked for.
type merging struct {
	t      *testing.T
	n      *netsim.Network
	relays [2]*fakeRelay
	has    [2]map[string]bool // hosts
	seq    [2]uint64
	sent   int // entries of the network that relay 0 has seen
	lags   int // entries that relay 1 is behind
	at     int // entries that relay 1 has seen
}

func newMerging(t *testing.T) *merging {
	m := &merging{t: t, n: newNet(t, netsim.Options{Hosts: 10, Accounts: 6, Churn: 0.3, WallClock: true})}
	for i := range m.relays {
		m.relays[i], m.has[i], m.seq[i] = newFakeRelay(t), map[string]bool{}, uint64(1000*i)
	}
	for i, h := range m.n.Hosts() { // three of ten are both's
		m.has[0][h.Name] = i < 6
		m.has[1][h.Name] = i >= 3
	}
	return m
}

// relay has a relay send what came to it up to an entry of the network.
func (m *merging) relay(which, from, to int) {
	for i, e := range m.n.LedgerFrom(from)[:to-from] {
		if !m.has[which][e.Host] {
			continue
		}
		raw, err := m.n.Frame(from + i)
		if err != nil {
			m.t.Fatal(err)
		}
		m.seq[which]++
		m.relays[which].send(m.t, m.seq[which], raw)
	}
}

// flow makes events and has both relays send them, the second one as late as it is.
func (m *merging) flow(count int) {
	steps(m.t, m.n, count)
	m.relay(0, m.sent, m.n.Len())
	m.sent = m.n.Len()
	if to := m.sent - m.lags; to > m.at {
		m.relay(1, m.at, to)
		m.at = to
	}
}

// decided waits until both relays' events are.
func (m *merging) decided(r *rig) {
	m.t.Helper()
	until(m.t, "both relays' events to be decided", func() bool {
		for i, f := range m.relays {
			if h, ok := r.m.Host(f.name); !ok || h.Cursor < m.seq[i] {
				return false
			}
		}
		return true
	})
}

func TestTwoRelaysGiveTheirUnionEachEventOnceInTheAccountsOrder(t *testing.T) {
	m := newMerging(t)
	log, led := &memLog{}, newLedger(t)
	r := newRig(t, m.n.PLCURL(), log, func(o *Options) { o.Ledger = led })
	o := log.own(t)
	for _, f := range m.relays {
		r.addRelay(f.URL, o)
	}
	m.flow(600)
	m.lags = 400 // the second one is late from now on
	for range 5 {
		m.flow(200)
	}
	r.m.KickHost(m.relays[1].name, errors.New("killed by the test"))
	for range 3 {
		m.flow(200)
	}
	m.lags = 0
	m.flow(1)
	m.decided(r)
	m.union(log)

	late, total := uint64(0), uint64(0)
	for _, f := range m.relays {
		row := rowOf(t, led, f.name)
		n := reasonCount(row, "brought_by_another")
		late, total = late+n, total+row.Accepted()
		if n+row.Accepted() == 0 || row.Received < n+row.Accepted() {
			t.Errorf("%s: %d first, %d late, of %d", f.name, row.Accepted(), n, row.Received)
		}
	}
	if late == 0 || total != uint64(len(log.all())) {
		t.Errorf("%d late, %d first of %d", late, total, len(log.all()))
	}
	r.stop()

	// And what was brought again after a restart is known.
	again := newRig(t, m.n.PLCURL(), log, nil)
	for _, f := range m.relays {
		again.m.from[f.name] = Position{} // a cursor that was lost
		again.addRelay(f.URL, log.own(t))
	}
	m.decided(again)
	m.union(log)
}

// Each of two relays leaves out what the other has: nothing is missing in the end.
func TestWhatOneRelayLeavesOutTheOtherBringsInItsPlace(t *testing.T) {
	n := newNet(t, netsim.Options{Hosts: 2, Accounts: 5, Churn: -1, WallClock: true})
	relays := [2]*fakeRelay{newFakeRelay(t), newFakeRelay(t)}
	frames := hostFrames(t, n, 400)
	log := &memLog{}
	r := newRig(t, n.PLCURL(), log, nil)
	o := log.own(t)
	for _, f := range relays {
		r.addRelay(f.URL, o)
	}
	left := 0
	for i, raw := range frames {
		for which, f := range relays {
			if i > 50 && i%10 == 3*which { // the one, or the other, has it not
				left++
				continue
			}
			f.send(t, uint64(i+1), raw)
		}
		if i%20 == 19 { // neither is far ahead: there is room for what waits
			r.logged(i + 1)
		}
	}
	if left == 0 {
		t.Error("nothing was left out")
	}
	last := map[string]string{}
	for _, rec := range log.all() {
		ev, err := frame.Parse(rec.Frame)
		if err != nil {
			t.Fatal(err)
		}
		if rec.Verdict.Has(segmentlog.Discontinuous) || last[ev.DID] >= ev.Rev {
			t.Fatalf("%s at rev %s after %s has verdict %v", ev.DID, ev.Rev, last[ev.DID], rec.Verdict)
		}
		last[ev.DID] = ev.Rev
	}
}

func TestWhatNobodyBringsIsWaitedForOnlySoLong(t *testing.T) {
	n := newNet(t, netsim.Options{Hosts: 1, Accounts: 3, Churn: -1, WallClock: true})
	f := newFakeRelay(t)
	frames := hostFrames(t, n, 100)
	log := &memLog{}
	r := newRig(t, n.PLCURL(), log, func(o *Options) { o.Bounds.MergeFor = 20 * time.Millisecond })
	r.addRelay(f.URL, log.own(t))
	gaps, sent := 0, 0
	for i, raw := range frames {
		if i >= 40 && i < 50 {
			gaps++
			continue
		}
		sent++
		f.send(t, uint64(i+1), raw)
	}
	r.logged(sent)
	broken := 0
	for _, rec := range log.all() {
		if rec.Verdict.Has(segmentlog.Discontinuous) {
			broken++
		}
	}
	if broken == 0 || broken > 3 {
		t.Errorf("%d breaks of %d accounts after %d events that nobody brought", broken, 3, gaps)
	}
}

// Of an account whose commit waits, an #identity or #account waits too.
func TestNothingOfAnAccountPassesWhatIsParked(t *testing.T) {
	n := newNet(t, netsim.Options{Hosts: 1, Accounts: 3, Churn: -1, WallClock: true})
	f := newFakeRelay(t)
	h := n.Host(0)
	a := h.Account(0)
	at := n.Len()
	for range 3 {
		if _, err := h.Post(a); err != nil {
			t.Fatal(err)
		}
	}
	if err := n.ChangeHandle(a); err != nil {
		t.Fatal(err)
	}
	log := &memLog{}
	r := newRig(t, n.PLCURL(), log, func(o *Options) { o.Bounds.MergeFor = 200 * time.Millisecond })
	r.addRelay(f.URL, log.own(t))
	for i := at; i < n.Len(); i++ {
		if i == at+1 { // the second post
			continue
		}
		raw, err := n.Frame(i)
		if err != nil {
			t.Fatal(err)
		}
		f.send(t, uint64(i+1), raw)
	}
	r.logged(n.Len() - at - 1)
	last := uint64(0)
	for _, rec := range log.all() {
		if rec.HostSeq <= last {
			t.Errorf("seq %d of the relay stands after %d", rec.HostSeq, last)
		}
		last = rec.HostSeq
	}
	if len(log.all()) < 3 {
		t.Errorf("%d events: no #identity", len(log.all()))
	}
}

func TestMoreThanCanWaitDoesNotWait(t *testing.T) {
	n := newNet(t, netsim.Options{Hosts: 1, Accounts: 1, Churn: -1, WallClock: true})
	f := newFakeRelay(t)
	frames := hostFrames(t, n, 3*lineEvents)
	log := &memLog{}
	r := newRig(t, n.PLCURL(), log, func(o *Options) { o.Bounds.MergeFor = time.Hour })
	r.addRelay(f.URL, log.own(t))
	for i, raw := range frames {
		if i != 40 {
			f.send(t, uint64(i+1), raw)
		}
	}
	r.logged(len(frames) - 1)
}

func reasonCount(row *ledger.Row, reason string) uint64 {
	for _, o := range row.Outcomes {
		if o.Reason == reason {
			return o.Count
		}
	}
	return 0
}

// union fails unless the log has the network's events, each once, in the order of each
// account.
func (m *merging) union(log *memLog) {
	m.t.Helper()
	want := map[string][][]byte{} // by account, without numbers
	synced := map[string]bool{}   // a #sync that says the same again is the same event
	for i := range m.n.Len() {
		raw, err := m.n.Frame(i)
		if err != nil {
			m.t.Fatal(err)
		}
		ev, err := frame.Parse(raw)
		if err != nil {
			m.t.Fatal(err)
		}
		if key := ev.DID + ev.Rev; ev.Kind == frame.Sync && synced[key] {
			continue
		} else if ev.Kind == frame.Sync {
			synced[key] = true
		}
		want[ev.DID] = append(want[ev.DID], ev.AppendFrame(nil, 1))
	}
	got := map[string][][]byte{}
	for _, rec := range log.all() {
		ev, err := frame.Parse(rec.Frame)
		if err != nil {
			m.t.Fatal(err)
		}
		got[ev.DID] = append(got[ev.DID], ev.AppendFrame(nil, 1))
	}
	for did, events := range want {
		if len(got[did]) != len(events) {
			m.t.Errorf("%s: %d events in the log, want %d", did, len(got[did]), len(events))
			continue
		}
		for i := range events {
			if !bytes.Equal(got[did][i], events[i]) {
				m.t.Errorf("%s: event %d is another", did, i)
				break
			}
		}
	}
}

func TestAMergeForgetsTheOldest(t *testing.T) {
	g := NewMerge()
	ev := func(i int) *frame.Event {
		return &frame.Event{Kind: frame.Identity, Type: "#identity", DID: "did:plc:x", Handle: strconv.Itoa(i)}
	}
	for i := range mergeRemembers + 10 {
		g.Note(ev(i))
	}
	if len(g.known) > mergeRemembers || len(g.order) != mergeRemembers {
		t.Errorf("%d known, %d in order", len(g.known), len(g.order))
	}
	if g.has(ev(0), nil) || !g.has(ev(mergeRemembers), nil) {
		t.Error("it forgot the wrong ones")
	}
}
