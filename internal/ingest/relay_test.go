package ingest

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/cistern-archive/cistern/internal/frame"
	"github.com/cistern-archive/cistern/internal/netsim"
	"github.com/cistern-archive/cistern/segmentlog"
)

// last is RelayOptions.Last of a log in memory.
func (l *memLog) last(context.Context) (known []Known, err error) {
	all := l.all()
	for _, rec := range all[max(0, len(all)-64):] {
		ev, err := frame.Parse(rec.Frame)
		if err != nil {
			return nil, err
		}
		known = append(known, Known{Seq: rec.HostSeq, Head: ev.Head, Tail: ev.Tail})
	}
	return known, nil
}

// keep is how the log goes on with a relay's numbers.
func (l *memLog) keep() RelayOptions {
	o := RelayOptions{KeepSeq: true, Last: l.last}
	if all := l.all(); len(all) > 0 {
		rec := &all[len(all)-1]
		o.From, o.Base = Position{Host: string(rec.Host), Epoch: rec.HostEpoch, Floor: rec.HostSeq}, rec.Seq-rec.HostSeq
	}
	return o
}

func (r *rig) addRelay(url string, o RelayOptions) {
	r.t.Helper()
	if err := r.m.AddRelay(url, o); err != nil {
		r.t.Fatal(err)
	}
}

// fakeRelay is a relay that sends what it is told to, in the order of its numbers.
type fakeRelay struct {
	*httptest.Server
	name string

	stream  string // that it says it is of
	mu      sync.Mutex
	grown   sync.Cond
	seqs    []uint64
	frames  [][]byte
	asked   []uint64                   // cursors, in the order of the connections
	hello   func(cursor uint64) []byte // sent first; nil for nothing
	start   func(cursor uint64) int    // index of the first frame that is sent; nil for the one after the cursor
	live    int                        // connections without a cursor
	closing bool
}

func newFakeRelay(t *testing.T) *fakeRelay {
	f := &fakeRelay{}
	f.grown.L = &f.mu
	f.Server = httptest.NewServer(http.HandlerFunc(f.serve))
	f.name = strings.TrimPrefix(f.URL, "http://")
	t.Cleanup(func() {
		f.mu.Lock()
		f.closing = true
		f.grown.Broadcast()
		f.mu.Unlock()
		f.Close()
	})
	return f
}

func (f *fakeRelay) serve(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	header := http.Header{}
	if f.stream != "" {
		header.Set(streamHeader, f.stream)
	}
	f.mu.Unlock()
	conn, err := (&websocket.Upgrader{}).Upgrade(w, r, header)
	if err != nil {
		return
	}
	defer conn.Close()
	gone := make(chan struct{})
	go func() { // what the reader answers does not matter, that it is there does
		defer close(gone)
		for {
			if _, _, err := conn.ReadMessage(); err != nil {
				f.mu.Lock()
				f.grown.Broadcast()
				f.mu.Unlock()
				return
			}
		}
	}()
	defer func() { conn.Close(); <-gone }()
	next := f.begin(conn, r)
	for next >= 0 {
		f.mu.Lock()
		for next >= len(f.frames) && !f.closing && !closed(gone) {
			f.grown.Wait()
		}
		if f.closing || closed(gone) {
			f.mu.Unlock()
			return
		}
		b := f.frames[next]
		f.mu.Unlock()
		if conn.WriteMessage(websocket.BinaryMessage, b) != nil {
			return
		}
		next++
	}
}

func closed(c chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func (f *fakeRelay) begin(conn *websocket.Conn, r *http.Request) (next int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !r.URL.Query().Has("cursor") {
		f.live++
		return len(f.frames)
	}
	cursor, _ := strconv.ParseUint(r.URL.Query().Get("cursor"), 10, 64)
	f.asked = append(f.asked, cursor)
	if f.hello != nil {
		if b := f.hello(cursor); b != nil && conn.WriteMessage(websocket.BinaryMessage, b) != nil {
			return -1
		}
	}
	if f.start != nil {
		return f.start(cursor)
	}
	for next < len(f.seqs) && f.seqs[next] <= cursor {
		next++
	}
	return next
}

// send adds a frame of a host under a number.
func (f *fakeRelay) send(t *testing.T, seq uint64, raw []byte) {
	t.Helper()
	ev, err := frame.Parse(bytes.Clone(raw))
	if err != nil {
		t.Fatal(err)
	}
	f.sendRaw(seq, ev.AppendFrame(nil, seq))
}

func (f *fakeRelay) sendRaw(seq uint64, raw []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.seqs, f.frames = append(f.seqs, seq), append(f.frames, raw)
	f.grown.Broadcast()
}

func (f *fakeRelay) connections() []uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.asked[:len(f.asked):len(f.asked)]
}

func (f *fakeRelay) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

// hostFrames makes honest events of a network of one host.
func hostFrames(t *testing.T, n *netsim.Network, count int) (frames [][]byte) {
	t.Helper()
	at := n.Len()
	steps(t, n, count) // some make more events than one
	for i := at; i < at+count; i++ {
		raw, err := n.Frame(i)
		if err != nil {
			t.Fatal(err)
		}
		frames = append(frames, raw)
	}
	return frames
}

func (r *rig) logged(n int) {
	r.t.Helper()
	until(r.t, fmt.Sprintf("%d events in the log", n), func() bool { return len(r.log.all()) >= n })
}

// same fails unless the log has the relay's frames from an index on, byte for byte, and
// nothing else.
func (r *rig) same(f *fakeRelay, from int) {
	r.t.Helper()
	all := r.log.all()
	f.mu.Lock()
	defer f.mu.Unlock()
	if want := len(f.frames) - from; len(all) != want {
		r.t.Fatalf("%d events in the log, want %d", len(all), want)
	}
	for i, rec := range all {
		if rec.Seq != f.seqs[from+i] || !bytes.Equal(rec.Frame, f.frames[from+i]) {
			r.t.Fatalf("event %d has seq %d, want %d, or other bytes", i, rec.Seq, f.seqs[from+i])
		}
	}
}

func TestARelaysEventsKeepTheirNumbersAndBytes(t *testing.T) {
	n := newNet(t, netsim.Options{Hosts: 1, Accounts: 20, Churn: 0.2})
	f := newFakeRelay(t)
	seq := uint64(7_000_000_000)
	for i, raw := range hostFrames(t, n, 400) {
		if seq++; i%50 == 0 {
			seq += 20 // relays number with gaps
		}
		f.send(t, seq, raw)
	}
	log := &memLog{}
	for round := range 3 { // goes on where it was
		r := newRig(t, n.PLCURL(), log, nil)
		r.addRelay(f.URL, log.keep())
		for _, raw := range hostFrames(t, n, 100) {
			seq++
			f.send(t, seq, raw)
		}
		r.logged(len(f.frames))
		if round == 1 {
			r.m.KickHost(f.name, errBroken)
			until(t, "another connection", func() bool { return len(f.connections()) >= 3 })
		}
		r.same(f, 0)
		r.stop()
	}
	for _, rec := range log.all() {
		if rec.Verdict.Has(segmentlog.Unverified) || string(rec.Host) != f.name || rec.HostSeq != rec.Seq {
			t.Fatalf("seq %d of %q has verdict %v", rec.HostSeq, rec.Host, rec.Verdict)
		}
	}
	if !bytes.Contains(log.all()[0].Frame, []byte("#")) || len(f.connections()) < 4 {
		t.Errorf("%d connections", len(f.connections()))
	}
}

// The first event waits for its key; the others are there, and wait for it.
func TestARelaysOrderIsKeptWhileAnIdentityIsAwaited(t *testing.T) {
	n := newNet(t, netsim.Options{Hosts: 1, Accounts: 30})
	f := newFakeRelay(t)
	frames := hostFrames(t, n, lineEvents-50) // all of them fit into the line
	first, err := frame.Parse(frames[0])
	if err != nil {
		t.Fatal(err)
	}
	open := make(chan struct{})
	n.PLC().SetFault(func(did string) netsim.PLCFault {
		if did == first.DID {
			<-open
		}
		return netsim.PLCFault{}
	})
	for i, raw := range frames {
		f.send(t, uint64(i+1), raw)
	}
	log := &memLog{}
	r := newRig(t, n.PLCURL(), log, nil)
	r.addRelay(f.URL, log.keep())
	until(t, "the others' keys", func() bool {
		for _, raw := range frames {
			ev, err := frame.Parse(raw)
			if err != nil {
				t.Fatal(err)
			}
			if _, ok, _ := r.resolver.Cached(ev.DID); !ok && ev.DID != first.DID && ev.Kind == frame.Commit {
				return false
			}
		}
		return true
	})
	if got := len(log.all()); got != 0 {
		t.Errorf("%d events passed one that waits", got)
	}
	close(open)
	r.logged(len(frames))
	r.same(f, 0)
}

func TestAnEventWhoseKeyNobodySaysPassesUnverifiedAndSaysSo(t *testing.T) {
	n := newNet(t, netsim.Options{Hosts: 1, Accounts: 5})
	f := newFakeRelay(t)
	for i, raw := range hostFrames(t, n, 50) {
		f.send(t, uint64(i+1), raw)
	}
	n.PLC().SetFault(func(string) netsim.PLCFault { return netsim.PLCFault{Status: http.StatusServiceUnavailable} })
	log := &memLog{}
	r := newRig(t, n.PLCURL(), log, func(o *Options) { o.Bounds.RelayHoldFor = 50 * time.Millisecond })
	r.addRelay(f.URL, log.keep())
	r.logged(50)
	r.same(f, 0)
	for _, rec := range log.all() {
		if ev, _ := frame.Parse(rec.Frame); (ev.Kind == frame.Commit || ev.Kind == frame.Sync) != rec.Verdict.Has(segmentlog.Unverified) || rec.Key != nil {
			t.Fatalf("%v at seq %d has verdict %v, key %x", ev.Kind, rec.Seq, rec.Verdict, rec.Key)
		}
	}
}

func TestWithoutVerificationTheVerdictSaysSoAndNobodyIsAsked(t *testing.T) {
	n := newNet(t, netsim.Options{Hosts: 1, Accounts: 5, Churn: 0.3})
	f := newFakeRelay(t)
	for i, raw := range hostFrames(t, n, 100) {
		f.send(t, uint64(i+1), raw)
	}
	log := &memLog{}
	r := newRig(t, "http://127.0.0.1:1", log, nil)
	o := log.keep()
	o.Unchecked = true
	r.addRelay(f.URL, o)
	r.logged(100)
	r.same(f, 0)
	for _, rec := range log.all() {
		ev, err := frame.Parse(rec.Frame)
		if err != nil {
			t.Fatal(err)
		}
		hasRepo := ev.Kind == frame.Commit || ev.Kind == frame.Sync
		if rec.Verdict.Has(segmentlog.Signature) || rec.Key != nil || rec.Verdict.Has(segmentlog.Unverified) != hasRepo {
			t.Fatalf("%s at seq %d has verdict %v", ev.Type, rec.Seq, rec.Verdict)
		}
	}
	r.sameDerived()
}

// errorFrame is an error frame of the event stream.
func errorFrameOf(name string) []byte {
	return append([]byte("\xa1\x62op\x20\xa1\x65error"), append([]byte{byte(0x60 + len(name))}, name...)...)
}

// infoFrame is an #info.
func infoFrameOf(name string) []byte {
	return append([]byte("\xa2\x61t\x65#info\x62op\x01\xa1\x64name"), append([]byte{byte(0x60 + len(name))}, name...)...)
}

// mirrored is a log that has the first hundred events of a relay.
func mirrored(t *testing.T, more int) (*netsim.Network, *fakeRelay, *memLog, [][]byte) {
	t.Helper()
	n := newNet(t, netsim.Options{Hosts: 1, Accounts: 10})
	f, log := newFakeRelay(t), &memLog{}
	frames := hostFrames(t, n, 100+more)
	for i, raw := range frames[:100] {
		f.send(t, uint64(i+1), raw)
	}
	r := newRig(t, n.PLCURL(), log, nil)
	r.addRelay(f.URL, log.keep())
	r.logged(100)
	r.stop()
	return n, f, log, frames[100:]
}

func TestARelayWhoseNumbersMeanSomethingElseIsNotRead(t *testing.T) {
	for name, change := range map[string]func(f *fakeRelay, more [][]byte){
		"it knows no such cursor": func(f *fakeRelay, _ [][]byte) {
			f.hello, f.start = func(uint64) []byte { return errorFrameOf("FutureCursor") }, func(uint64) int { return -1 }
		},
		"it began anew, and does not mind the cursor": func(f *fakeRelay, more [][]byte) {
			f.seqs, f.frames, f.start = nil, nil, func(uint64) int { return 0 }
			for i := range more[:20] {
				f.seqs, f.frames = append(f.seqs, uint64(i+1)), append(f.frames, renumbered(more[i], uint64(i+1)))
			}
		},
		"it began anew, and has passed the cursor": func(f *fakeRelay, more [][]byte) {
			f.seqs, f.frames = nil, nil
			for i := range more {
				f.seqs, f.frames = append(f.seqs, uint64(i+1)), append(f.frames, renumbered(more[i], uint64(i+1)))
			}
		},
		"it goes on far away": func(f *fakeRelay, more [][]byte) {
			for i := range more {
				seq := 3*uint64(maxJump) + uint64(i)
				f.seqs, f.frames = append(f.seqs, seq), append(f.frames, renumbered(more[i], seq))
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			n, f, log, more := mirrored(t, 150)
			f.set(func() { change(f, more) })
			r := newRig(t, n.PLCURL(), log, nil)
			r.addRelay(f.URL, log.keep())
			var broken string
			until(t, "the relay to be told from the one before", func() bool {
				h, _ := r.m.Host(f.name)
				broken = h.Relay.Broken
				return broken != "" && len(f.connections()) > 3 // it is tried again and again
			})
			if !strings.Contains(broken, "--upstream-epoch=1") || !strings.Contains(broken, "up to seq 100") {
				t.Errorf("it says: %s", broken)
			}
			if got := len(log.all()); got != 100 {
				t.Errorf("%d events in the log, want the 100 before", got)
			}
		})
	}
}

// numbered is a host's frame under another number.
func renumbered(raw []byte, seq uint64) []byte {
	ev, err := frame.Parse(bytes.Clone(raw))
	if err != nil {
		panic(err)
	}
	return ev.AppendFrame(nil, seq)
}

func TestANewEpochOfARelaysNumbersStandsAboveTheOldOne(t *testing.T) {
	n, f, log, more := mirrored(t, 150)
	f.set(func() { f.seqs, f.frames = nil, nil })
	for i, raw := range more {
		f.send(t, uint64(i+1), raw)
	}
	for range 2 { // and goes on there
		r := newRig(t, n.PLCURL(), log, nil)
		o := log.keep()
		if o.From.Epoch == 0 {
			o.From, o.Base = Position{Host: o.From.Host, Epoch: 1}, 1_000_000_000
			o.Last = func(context.Context) ([]Known, error) { return nil, nil }
		}
		r.addRelay(f.URL, o)
		r.logged(250)
		r.stop()
	}
	for i, rec := range log.all()[100:] {
		if want := 1_000_000_000 + uint64(i+1); rec.Seq != want || rec.HostSeq != uint64(i+1) || rec.HostEpoch != 1 {
			t.Fatalf("event %d has seq %d, the relay's is %d in epoch %d", i, rec.Seq, rec.HostSeq, rec.HostEpoch)
		}
	}
}

func TestWhatARelayForgotIsAGapThatTheLedgerHas(t *testing.T) {
	n, f, log, more := mirrored(t, 50)
	f.set(func() { // an outage of a week: what came meanwhile is gone
		f.seqs, f.frames = nil, nil
		f.hello = func(uint64) []byte { return infoFrameOf("OutdatedCursor") }
	})
	for i, raw := range more {
		f.send(t, uint64(100_000+i), raw)
	}
	led := newLedger(t)
	r := newRig(t, n.PLCURL(), log, func(o *Options) { o.Ledger = led })
	r.addRelay(f.URL, log.keep())
	r.logged(150)
	row := rowOf(t, led, f.name)
	if row.Outdated.Count != 1 || row.Outdated.Cursor != 100 || row.Outdated.First != 100_000 || row.Skipped.Count != 1 || row.SkippedNumbers != 99_899 {
		t.Errorf("outdated %+v, skipped %+v of %d numbers", row.Outdated, row.Skipped, row.SkippedNumbers)
	}
}

// The reference relay jumps from some cursors to the present without a word.
func TestASilentJumpIsAskedAboutFromFurtherBackBeforeItIsBelieved(t *testing.T) {
	n, f, log, more := mirrored(t, 500)
	for i, raw := range more {
		f.send(t, uint64(101+i), raw)
	}
	f.set(func() {
		f.start = func(cursor uint64) int {
			if cursor > 0 { // any cursor but the oldest jumps
				return 500
			}
			return 0
		}
	})
	led := newLedger(t)
	r := newRig(t, n.PLCURL(), log, func(o *Options) { o.Ledger = led })
	r.addRelay(f.URL, log.keep())
	r.logged(600)
	r.same(f, 0)
	if row := rowOf(t, led, f.name); row.Skipped.Count != 0 {
		t.Errorf("skipped %+v", row.Skipped)
	}
}

func TestAJumpThatIsThereAgainIsBelievedAndCounted(t *testing.T) {
	n, f, log, more := mirrored(t, 50)
	for i, raw := range more {
		f.send(t, uint64(9000+i), raw)
	}
	led := newLedger(t)
	r := newRig(t, n.PLCURL(), log, func(o *Options) { o.Ledger = led })
	r.addRelay(f.URL, log.keep())
	r.logged(150)
	r.same(f, 0)
	if asked := len(f.connections()); asked != 2+len(lookBack) {
		t.Errorf("%d connections, want one before, one that jumped, and one each from further back", asked)
	}
	if row := rowOf(t, led, f.name); row.Skipped.Count != 1 || row.SkippedNumbers != 8899 {
		t.Errorf("skipped %+v of %d numbers", row.Skipped, row.SkippedNumbers)
	}
}

func TestPoisonFromARelayIsLeftOutAndCounted(t *testing.T) {
	n, f, log, more := mirrored(t, 40)
	seq := uint64(100)
	for i, raw := range more {
		seq++
		switch i {
		case 10:
			f.sendRaw(seq, []byte{0xff, 0x00})
			seq++
		case 20: // a number from nowhere, once
			f.sendRaw(seq, renumbered(raw, 1<<52))
		case 30: // cut in the middle
			b := renumbered(raw, seq)
			f.sendRaw(seq, b[:len(b)/2])
			seq++
		}
		f.send(t, seq, raw)
	}
	r := newRig(t, n.PLCURL(), log, nil)
	r.addRelay(f.URL, log.keep())
	r.logged(140)
	if got := log.all(); got[len(got)-1].Seq != seq {
		t.Errorf("the last seq is %d, want %d", got[len(got)-1].Seq, seq)
	}
	rej := r.rejections()
	if rej["seq_jump"] != 1 || rej["malformed_cbor"] != 1 || rej["truncated"] != 1 {
		t.Errorf("rejections: %v", rej)
	}
}

func TestARelaysLastEventsOfAnotherNameMustComeAgain(t *testing.T) {
	n, f, log, more := mirrored(t, 50)
	other := newFakeRelay(t) // the same relay under another name
	f.mu.Lock()
	other.seqs, other.frames = f.seqs, f.frames
	f.mu.Unlock()
	for i, raw := range more {
		other.send(t, uint64(101+i), raw)
	}
	r := newRig(t, n.PLCURL(), log, nil)
	r.addRelay(other.URL, log.keep())
	r.logged(150)
	r.same(other, 0)
	r.stop()

	third := newFakeRelay(t) // one that has none of them, and higher numbers
	for i, raw := range hostFrames(t, n, 20) {
		third.send(t, uint64(151+i), raw)
	}
	r = newRig(t, n.PLCURL(), log, nil)
	r.addRelay(third.URL, log.keep())
	until(t, "the other relay to be noticed", func() bool { h, _ := r.m.Host(third.name); return h.Relay.Broken != "" })
	if got := len(log.all()); got != 150 {
		t.Errorf("%d events in the log, want 150", got)
	}
}

func TestAPlaceInLineIsGivenBackWhenTheRelayIsDropped(t *testing.T) {
	n := newNet(t, netsim.Options{Hosts: 1, Accounts: 10})
	f, log := newFakeRelay(t), &memLog{gate: make(chan struct{})}
	for i, raw := range hostFrames(t, n, 2*lineEvents) {
		f.send(t, uint64(i+1), raw)
	}
	r := newRig(t, n.PLCURL(), log, nil)
	r.addRelay(f.URL, log.keep())
	until(t, "a full line", func() bool { return r.counters("cistern_ingest_window_full_total", "")[""] > 0 })
	if !r.m.DropHost(f.name, errBroken) {
		t.Fatal("not dropped")
	}
	close(log.gate)
	r.logged(lineEvents)
	r.addRelay(f.URL, log.keep())
	r.logged(2 * lineEvents)
	r.same(f, 0)
}

func TestARelayThatAnswersFromAnotherStreamIsNotRead(t *testing.T) {
	n, f, log, more := mirrored(t, 150)
	f.set(func() { f.stream = "one" })
	r := newRig(t, n.PLCURL(), log, nil)
	r.addRelay(f.URL, log.keep())
	f.send(t, 101, more[0])
	r.logged(101)
	f.set(func() { f.stream = "another" })
	r.m.KickHost(f.name, errBroken)
	until(t, "the stream to be noticed", func() bool {
		h, _ := r.m.Host(f.name)
		return strings.Contains(h.Relay.Broken, `stream "another" after "one"`)
	})
	f.send(t, 102, more[1])
	f.set(func() { f.stream = "one" }) // and it is itself again
	r.logged(102)
	until(t, "the relay to be trusted again", func() bool { h, _ := r.m.Host(f.name); return h.Relay.Broken == "" })
}
