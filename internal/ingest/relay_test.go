package ingest

import (
	"bytes"
	"context"
	"net/http"
	"testing"
	"time"

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
