package ingest

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"testing"
	"time"

	"github.com/cistern-archive/cistern/internal/netsim"
	"github.com/cistern-archive/cistern/segmentlog"
)

func TestEveryHonestEventIsInTheLogOnceAndInOrder(t *testing.T) {
	n := newNet(t, netsim.Options{Hosts: 4, Accounts: 12, Churn: 0.1})
	steps(t, n, 400) // a backlog
	r := newRig(t, n.PLCURL(), &memLog{}, nil)
	r.addHosts(n.HostURLs()...)
	steps(t, n, 400) // and live
	r.caughtUp(n)
	r.sameTruth(n)
	r.sameDerived()
	for _, rec := range r.log.all() {
		if !rec.Verdict.Has(segmentlog.Authority) {
			t.Errorf("seq %d has verdict %v, want authority in it", rec.Seq, rec.Verdict)
		}
		if rec.HostFloor >= rec.HostSeq {
			t.Errorf("seq %d: floor %d at upstream seq %d", rec.Seq, rec.HostFloor, rec.HostSeq)
		}
	}
}

// A crash leaves some prefix of what was sequenced. From any prefix the next start
// must get the rest, all of it and nothing twice.
func TestAnyPrefixOfTheLogIsEnoughToGoOn(t *testing.T) {
	n := newNet(t, netsim.Options{Hosts: 3, Accounts: 8, Churn: 0.1})
	// A slow directory makes events of different accounts finish out of order.
	n.PLC().SetFault(func(string) netsim.PLCFault {
		return netsim.PLCFault{Delay: rand.N(10 * time.Millisecond)}
	})
	log := &memLog{}
	for range 8 {
		r := newRig(t, n.PLCURL(), log, nil)
		r.addHosts(n.HostURLs()...)
		steps(t, n, 60)
		want := len(log.all()) + rand.IntN(40)
		until(t, "some progress", func() bool { return len(r.log.all()) >= min(want, n.Len()) })
		r.stop()
		records := log.all()
		log = &memLog{records: records[:len(records)-rand.IntN(len(records)/2+1)]}
	}
	r := newRig(t, n.PLCURL(), log, nil)
	r.addHosts(n.HostURLs()...)
	r.caughtUp(n)
	r.sameTruth(n)
	r.sameDerived()
}

func TestAHostThatRestartsLosesNothing(t *testing.T) {
	n := newNet(t, netsim.Options{Hosts: 2, Accounts: 6})
	r := newRig(t, n.PLCURL(), &memLog{}, nil)
	r.addHosts(n.HostURLs()...)
	for range 5 {
		steps(t, n, 40)
		if err := n.Host(0).Stop(); err != nil {
			t.Fatal(err)
		}
		steps(t, n, 40)
		if err := n.Host(0).Start(); err != nil {
			t.Fatal(err)
		}
		n.Host(1).Disconnect()
	}
	r.caughtUp(n)
	r.sameTruth(n)
}

func TestAHostThatRestartsItsNumbersBeginsANewEpoch(t *testing.T) {
	n := newNet(t, netsim.Options{Hosts: 1, Accounts: 4, Churn: -1})
	r := newRig(t, n.PLCURL(), &memLog{}, nil)
	r.addHosts(n.HostURLs()...)
	steps(t, n, 50)
	r.caughtUp(n)
	n.Host(0).Reset()
	n.Host(0).Disconnect()
	until(t, "the new epoch", func() bool { return r.m.Hosts()[0].Epoch == 1 })
	steps(t, n, 20)
	r.caughtUp(n)
	r.sameTruth(n)
	last := r.log.all()[len(r.log.all())-1]
	if last.HostEpoch != 1 {
		t.Errorf("the last record has host epoch %d, want 1", last.HostEpoch)
	}

	r.stop()
	again := newRig(t, n.PLCURL(), r.log, nil)
	again.addHosts(n.HostURLs()...)
	steps(t, n, 20)
	again.caughtUp(n)
	again.sameTruth(n)
	if e := again.m.Hosts()[0].Epoch; e != 1 {
		t.Errorf("epoch %d after a restart, want 1", e)
	}
}

func TestASlowLookupHoldsUpNobodyElse(t *testing.T) {
	n := newNet(t, netsim.Options{Hosts: 1, Accounts: 5, Churn: -1})
	slow := n.Host(0).Account(0)
	release := make(chan struct{})
	n.PLC().SetFault(func(did string) netsim.PLCFault {
		if did == slow.DID {
			<-release
		}
		return netsim.PLCFault{}
	})
	r := newRig(t, n.PLCURL(), &memLog{}, nil)
	r.addHosts(n.HostURLs()...)
	post := func(i int) {
		if _, err := n.Host(0).Post(n.Host(0).Account(i)); err != nil {
			t.Fatal(err)
		}
	}
	post(0)
	for i := range 40 {
		post(i%4 + 1)
	}
	post(0)
	until(t, "the others", func() bool { return len(r.log.all()) == 40 })
	first := n.Ledger()[0].HostSeq
	for _, rec := range r.log.all() {
		if rec.HostFloor >= first {
			t.Fatalf("seq %d has floor %d while upstream seq %d waits", rec.Seq, rec.HostFloor, first)
		}
	}
	close(release)
	r.caughtUp(n)
	r.sameTruth(n)
}

func TestADirectoryThatIsAwayHoldsUnknownAccountsOnly(t *testing.T) {
	n := newNet(t, netsim.Options{Hosts: 1, Accounts: 4, Churn: -1})
	r := newRig(t, n.PLCURL(), &memLog{}, nil)
	r.addHosts(n.HostURLs()...)
	h := n.Host(0)
	mustPost := func(i int) {
		if _, err := h.Post(h.Account(i)); err != nil {
			t.Fatal(err)
		}
	}
	mustPost(0)
	r.caughtUp(n)
	n.PLC().SetFault(func(string) netsim.PLCFault { return netsim.PLCFault{Status: http.StatusServiceUnavailable} })
	mustPost(1)
	mustPost(0)
	until(t, "the known account", func() bool { return len(r.log.all()) == 2 })
	until(t, "the unknown account to be held", func() bool {
		return r.counters("cistern_ingest_held_events", "")[""] == 1
	})
	n.PLC().SetFault(nil)
	r.caughtUp(n)
	r.sameTruth(n)
}

func TestAHeldEventIsDroppedInTheEnd(t *testing.T) {
	n := newNet(t, netsim.Options{Hosts: 1, Accounts: 2, Churn: -1})
	n.PLC().SetFault(func(string) netsim.PLCFault { return netsim.PLCFault{Status: http.StatusServiceUnavailable} })
	r := newRig(t, n.PLCURL(), &memLog{}, func(o *Options) { o.Bounds.HoldFor = 20 * time.Millisecond })
	r.addHosts(n.HostURLs()...)
	steps(t, n, 10)
	r.caughtUp(n)
	if got := r.rejections()["held_too_long"]; got != 10 || len(r.log.all()) != 0 {
		t.Errorf("%d dropped as held too long and %d accepted, want 10 and 0", got, len(r.log.all()))
	}
	n.PLC().SetFault(nil)
	// What was held is gone, and the account goes on with its next event, once the
	// directory has been tried again.
	until(t, "events after the outage", func() bool {
		steps(t, n, 1)
		return len(r.log.all()) > 0
	})
}

func TestHeldEventsFillHalfOfTheWindowAtMost(t *testing.T) {
	n := newNet(t, netsim.Options{Hosts: 1, Accounts: 40, Churn: -1})
	n.PLC().SetFault(func(string) netsim.PLCFault { return netsim.PLCFault{Status: http.StatusServiceUnavailable} })
	r := newRig(t, n.PLCURL(), &memLog{}, func(o *Options) { o.Bounds.WindowEvents = 10 })
	r.addHosts(n.HostURLs()...)
	for i := range 40 {
		if _, err := n.Host(0).Post(n.Host(0).Account(i)); err != nil {
			t.Fatal(err)
		}
	}
	until(t, "what does not fit to be dropped", func() bool { return r.rejections()["hold_full"] == 35 })
	if held := r.counters("cistern_ingest_held_events", "")[""]; held != 5 {
		t.Errorf("%d events held, want 5", held)
	}
	n.PLC().SetFault(nil)
	r.caughtUp(n)
	if got := len(r.log.all()); got != 5 {
		t.Errorf("%d events in the log, want the 5 that were held", got)
	}
}

func TestStopWhileTheLogIsFullLeavesNothingHalfDone(t *testing.T) {
	n := newNet(t, netsim.Options{Hosts: 2, Accounts: 4, Churn: -1})
	log := &memLog{gate: make(chan struct{})}
	r := newRig(t, n.PLCURL(), log, nil)
	r.addHosts(n.HostURLs()...)
	steps(t, n, 50)
	until(t, "a connection", func() bool { return n.Host(0).Subscribers() > 0 })
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	r.stopped = true
	if err := r.m.Stop(ctx); err == nil {
		t.Error("Stop returned no error although its context had ended")
	}
	r.resolver.Close()
	if len(log.all()) != 0 {
		t.Fatalf("%d records passed a closed gate", len(log.all()))
	}
	close(log.gate)
	again := newRig(t, n.PLCURL(), log, nil)
	again.addHosts(n.HostURLs()...)
	again.caughtUp(n)
	again.sameTruth(n)
}

func TestALogThatFailsEndsAllReading(t *testing.T) {
	n := newNet(t, netsim.Options{Hosts: 2, Accounts: 4, Churn: -1})
	log := &memLog{err: errBroken}
	r := newRig(t, n.PLCURL(), log, nil)
	r.addHosts(n.HostURLs()...)
	steps(t, n, 5)
	select {
	case <-r.m.Failed():
	case <-time.After(patience):
		t.Fatal("the failure of the log was not noticed")
	}
	if err := r.m.Err(); !errors.Is(err, errBroken) {
		t.Errorf("Err is %v, want %v", err, errBroken)
	}
}
