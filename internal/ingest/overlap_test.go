package ingest

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"github.com/cistern-archive/cistern/internal/frame"
	"github.com/cistern-archive/cistern/internal/ledger"
	"github.com/cistern-archive/cistern/internal/netsim"
)

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

// goesOn follows the relay from where the log is, with a ledger.
func goesOn(t *testing.T, n *netsim.Network, f *fakeRelay, log *memLog) (*rig, *ledger.Ledger) {
	t.Helper()
	led := newLedger(t)
	r := newRig(t, n.PLCURL(), log, func(o *Options) { o.Ledger = led })
	r.addRelay(f.URL, log.keep())
	return r, led
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
	r, led := goesOn(t, n, f, log)
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
	r, led := goesOn(t, n, f, log)
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
	r, led := goesOn(t, n, f, log)
	r.logged(150)
	r.same(f, 0)
	if asked := len(f.connections()); asked != 2+len(lookBack) {
		t.Errorf("%d connections, want one before, one that jumped, and one each from further back", asked)
	}
	if row := rowOf(t, led, f.name); row.Skipped.Count != 1 || row.SkippedNumbers != 8899 {
		t.Errorf("skipped %+v of %d numbers", row.Skipped, row.SkippedNumbers)
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
