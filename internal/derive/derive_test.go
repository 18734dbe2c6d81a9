package derive

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"github.com/cistern-archive/cistern/index"
	"github.com/cistern-archive/cistern/internal/accounts"
	"github.com/cistern-archive/cistern/internal/frame"
	"github.com/cistern-archive/cistern/internal/netsim"
	"github.com/cistern-archive/cistern/segmentlog"
)

func TestMain(m *testing.M) {
	// Started by an import of a library, before any test.
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/ipfs/go-log/writer.(*MirrorWriter).logRoutine"))
}

// patience is when a test gives up; no claim depends on it.
const patience = 2 * time.Minute

// network is the frames of a simulated network, the same each time.
var network = sync.OnceValues(func() ([]segmentlog.Entry, error) {
	n, err := netsim.New(netsim.Options{Seed: 7, Hosts: 5, Accounts: 40, Offline: true, Churn: 0.2, Records: 20})
	if err != nil {
		return nil, err
	}
	defer n.Close()
	for range 2500 {
		if err := n.Step(); err != nil {
			return nil, err
		}
	}
	var entries []segmentlog.Entry
	floors := make(map[string]uint64)
	for _, e := range n.Ledger() {
		raw, err := n.Frame(e.Index)
		if err != nil {
			return nil, err
		}
		ev, err := frame.Parse(raw)
		if err != nil {
			return nil, err
		}
		entries = append(entries, segmentlog.Entry{
			DID: ev.DID, Host: e.Host, HostSeq: ev.Seq, HostFloor: floors[e.Host], Verdict: segmentlog.Authority | segmentlog.Signature,
			Head: ev.Head, Tail: ev.Tail,
		})
		floors[e.Host] = ev.Seq
	}
	return entries, nil
})

func entries(t testing.TB) []segmentlog.Entry {
	t.Helper()
	all, err := network()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// state is everything that an index derives.
type state struct {
	Accounts    map[string]string
	Hosts       []index.Host
	Collections map[string][]string
	Times       []uint64
}

var collections = []string{"app.bsky.feed.post", "app.bsky.feed.like", "app.bsky.graph.follow", "app.bsky.actor.profile", "app.bsky.feed.repost"}

func stateOf(t testing.TB, x *index.Index) state {
	t.Helper()
	s := state{Accounts: make(map[string]string), Collections: make(map[string][]string)}
	err := x.Accounts(t.Context(), 1, func(did []byte, a *index.Account) error {
		s.Accounts[string(did)] = fmt.Sprintf("%+v", *a)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if s.Hosts, err = x.Hosts(); err != nil {
		t.Fatal(err)
	}
	for _, c := range collections {
		if s.Collections[c], err = x.ReposByCollection(c, "", 1_000_000); err != nil {
			t.Fatal(err)
		}
	}
	for at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC); ; at = at.Add(time.Second) {
		seq, err := x.SeekTime(at.UnixMicro())
		if err != nil {
			t.Fatal(err)
		}
		if s.Times = append(s.Times, seq); seq > x.Applied() {
			return s
		}
	}
}

// recordByRecord is what the log says, read one record after the other.
func recordByRecord(t testing.TB, log *segmentlog.Log, table *accounts.Table) (collectionsOf map[string][]string) {
	t.Helper()
	reader := log.NewReader(0)
	defer reader.Close()
	collectionsOf = make(map[string][]string)
	var rec segmentlog.Record
	var ev frame.Event
	for reader.Next(&rec) == nil {
		var c accounts.Change
		if err := ChangeOf(&rec, &ev, &c); err != nil {
			t.Fatal(err)
		}
		held, err := table.Acquire(string(rec.DID))
		if err != nil {
			t.Fatal(err)
		}
		held.Apply(&c)
		held.Release()
		for _, op := range ev.Ops {
			name, _, _ := bytes.Cut([]byte(op.Path), []byte("/"))
			if did := string(rec.DID); op.Action != "delete" && !slices.Contains(collectionsOf[string(name)], did) {
				collectionsOf[string(name)] = append(collectionsOf[string(name)], did)
			}
		}
	}
	for _, dids := range collectionsOf {
		slices.Sort(dids)
	}
	return collectionsOf
}

// However often it begins anew and whatever a crash took from it, the index comes to
// what the log says.
func TestTheIndexIsAFunctionOfTheLog(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	r := newRig(t)
	all := entries(t)
	disk := vfs.NewCrashableMem()
	crashes := 0
	for len(all) > 0 {
		x := r.openIndex(disk)
		f, stop := r.follow(x, nil)
		n := min(len(all), 1+rng.IntN(600))
		last := r.append(all[:n]...)
		all = all[n:]
		r.durable(last)
		r.mustCatchUp(f, last-uint64(rng.IntN(n)))
		if rng.IntN(3) == 0 {
			if err := x.Persist(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		var after *vfs.MemFS
		if rng.IntN(2) == 0 { // nothing that was not synced is sure to be there
			after = disk.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: rng.IntN(101), RNG: rng})
			crashes++
		}
		if err := x.Close(); err != nil {
			t.Fatal(err)
		}
		if after != nil {
			disk = after
		}
		r.reg = prometheus.NewRegistry()
	}
	if crashes == 0 {
		t.Log("no crash in this run")
	}
	x := r.openIndex(disk)
	defer x.Close()
	f, stop := r.follow(x, nil)
	r.mustCatchUp(f, r.log.Tip())
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	r.reg = prometheus.NewRegistry()
	fresh := r.openIndex(vfs.NewMem())
	defer fresh.Close()
	f, stop = r.follow(fresh, nil)
	r.mustCatchUp(f, r.log.Tip())
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	got, want := stateOf(t, x), stateOf(t, fresh)
	if !reflect.DeepEqual(got, want) {
		t.Errorf("after %d crashes the index differs from one that was made at once:\n%+v\n%+v", crashes, got, want)
	}
	r.sameAsTable(fresh, want)
}

// sameAsTable compares the index with a table to which record after record was applied.
func (r *rig) sameAsTable(x *index.Index, s state) {
	r.t.Helper()
	table := accounts.NewTable(accounts.Options{})
	uses := recordByRecord(r.t, r.log, table)
	for _, c := range collections {
		if !slices.Equal(uses[c], s.Collections[c]) {
			r.t.Errorf("%s: %d accounts, want %d", c, len(s.Collections[c]), len(uses[c]))
		}
	}
	front := accounts.NewTable(accounts.Options{Store: x})
	for did := range s.Accounts {
		a, _, errA := table.Get(did)
		b, _, errB := front.Get(did)
		if errA != nil || errB != nil || !reflect.DeepEqual(a, b) {
			r.t.Fatalf("%s is\n%+v in the index, want\n%+v (%v, %v)", did, b, a, errA, errB)
		}
	}
	if n := table.Stats().Accounts; int(n) != len(s.Accounts) || n == 0 {
		r.t.Errorf("%d accounts in the index, want %d", len(s.Accounts), n)
	}
}

func TestARebuildOnAllProcessorsIsTheSame(t *testing.T) {
	r := newRig(t)
	for range 1 + 2*catchUpEvents/len(entries(t)) { // the same events again: marks and states repeat
		r.durable(r.append(entries(t)...))
	}
	if r.log.Tip() < 2*catchUpEvents {
		t.Fatalf("%d records are too few to be worth all processors", r.log.Tip())
	}
	x := r.openIndex(vfs.NewMem())
	defer x.Close()
	f, stop := r.follow(x, nil)
	r.mustCatchUp(f, r.log.Tip())
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if n := testutil.ToFloat64(f.metrics.events); uint64(n) != r.log.Tip() {
		t.Errorf("%v records applied, want each of %d once", n, r.log.Tip())
	}
	r.sameAsTable(x, stateOf(t, x))
}

func TestAFrameThatCannotBeReadStillCountsForItsMarkAndFloor(t *testing.T) {
	r := newRig(t)
	good := entries(t)[0]
	bad := good
	bad.Head, bad.Tail, bad.HostSeq, bad.HostFloor = []byte("garbage"), nil, good.HostSeq+8, good.HostSeq+7
	seq := r.append(good, bad)
	r.durable(seq)
	x := r.openIndex(vfs.NewMem())
	defer x.Close()
	f, stop := r.follow(x, nil)
	r.mustCatchUp(f, seq)
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	a, found, err := x.Account(good.DID)
	if err != nil || !found || len(a.Marks) != 1 || a.Marks[0].Seq != bad.HostSeq {
		t.Errorf("%+v, %v, %v; want the mark of the second record", a, found, err)
	}
	if hosts, err := x.Hosts(); err != nil || len(hosts) != 1 || hosts[0].Cursor != bad.HostFloor {
		t.Errorf("hosts %+v, %v", hosts, err)
	}
	if n := testutil.ToFloat64(f.metrics.unreadable); n != 1 {
		t.Errorf("%v frames counted as unreadable, want 1", n)
	}
}

func TestAnErasedFrameStillCountsForItsMarkAndFloor(t *testing.T) {
	rec := segmentlog.Record{
		Seq: 1, DID: []byte("did:plc:a"), Host: []byte("pds.example"), HostEpoch: 2, HostSeq: 8, HostFloor: 7, Digest: make([]byte, 32),
	}
	f := newFold()
	f.add(&rec)
	if a := f.accounts["did:plc:a"]; f.bad != 0 || a == nil || len(a.Marks) != 1 || a.Marks[0] != (index.Mark{Host: "pds.example", At: 1, Epoch: 2, Seq: 8}) {
		t.Errorf("%+v, %v", a, f.badErr)
	}
	if h := f.hosts["pds.example"]; h == nil || h.Epoch != 2 || h.Cursor != 7 {
		t.Errorf("%+v", h)
	}
}

func TestReadingWaitsWhileTheIndexIsTooFarBehind(t *testing.T) {
	r := newRig(t)
	seq := r.append(entries(t)[:50]...)
	r.durable(seq)
	x := r.openIndex(vfs.NewMem())
	defer x.Close()
	f := New(Options{Log: r.log, Index: x, MaxBehind: 10})
	if !f.Behind() {
		t.Fatal("50 records behind is not too far with a bound of 10")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	f.Wait(ctx) // returns because ctx ended
	if !f.Behind() {
		t.Fatal("nobody applied anything")
	}
	released := make(chan struct{})
	go func() {
		f.Wait(t.Context())
		close(released)
	}()
	run, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- f.Run(run) }()
	select {
	case <-released:
	case <-time.After(patience):
		t.Fatal("the wait does not end")
	}
	if f.Behind() {
		t.Error("the wait ended while the index was behind")
	}
	stop()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	f.Wait(t.Context()) // nobody applies any more: would hang if it waited
}

func TestAnIndexThatIsClosedEndsTheFollowerAndThoseWhoWait(t *testing.T) {
	r := newRig(t)
	x := r.openIndex(vfs.NewMem())
	f, stop := r.follow(x, nil)
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	seq := r.append(entries(t)[:5]...)
	r.durable(seq)
	if f.CaughtUp(t.Context(), seq) {
		t.Error("a closed index applied something")
	}
	if err := stop(); err == nil {
		t.Error("the follower ended without a reason")
	}
}
