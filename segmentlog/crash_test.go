package segmentlog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// lineage is one log through many crashes, with the truth beside it. A life ends
// with a power cut, or with a kill that leaves the page cache as it is; on the way
// there may be clean restarts.
type lineage struct {
	t    *testing.T
	rng  *rand.Rand
	mem  *vfs.MemFS
	opts Options

	assigned  map[uint64]int // seq → event, every number ever given out
	published map[uint64]int // what OnCommit saw
	next      int            // number of the next event
	crashes   int
	kills     int            // of them, without a power cut
	fired     map[place]int  // where they came
	restarts  int            // clean ones
	tune      func(*Options) // may be nil
}

func newLineage(t *testing.T, rng *rand.Rand) *lineage {
	return &lineage{
		t: t, rng: rng, mem: vfs.NewCrashableMem(), opts: testOptions(nil),
		assigned: map[uint64]int{}, published: map[uint64]int{}, fired: map[place]int{},
	}
}

func (g *lineage) run(points int) {
	for range points {
		g.life()
	}
}

// life is the time between two crashes.
type life struct {
	*lineage
	fs *crashFS
	o  Options

	mu      sync.Mutex
	live    map[uint64]int // published so far
	atCrash map[uint64]int // of them, before the crash
}

// life opens the log, checks it, appends until the crash comes, and goes on with
// what the crash left.
func (g *lineage) life() {
	fs := newCrashFS(g.mem, g.rng)
	fs.at = 1 + g.rng.IntN(60)
	fs.kill = g.rng.IntN(3) == 0
	fs.percent = []int{0, 30, 60, 100}[g.rng.IntN(4)]
	l := &life{lineage: g, fs: fs, o: g.opts, live: map[uint64]int{}, atCrash: map[uint64]int{}}
	fs.onCrash = func(at place) {
		l.mu.Lock()
		defer l.mu.Unlock()
		maps.Copy(l.atCrash, l.live)
		g.fired[at]++
	}
	l.o.FS, l.o.MaxHotBytes = fs, int64(1<<10+g.rng.IntN(8<<10))
	if g.tune != nil {
		g.tune(&l.o)
	}
	for l.session() {
		g.restarts++
	}
	g.crashes++
	if fs.kill {
		g.kills++
	}
	maps.Copy(g.published, l.atCrash)
	g.mem = fs.crashed
}

// session is the time between Open and Close. It returns false when the crash came.
func (g *life) session() bool {
	got := newSeen()
	g.o.OnCommit = func(b Batch) {
		g.mu.Lock()
		for i := range b.Len() {
			var r Record
			if err := b.Record(i, &r); err != nil {
				g.t.Error(err)
			}
			g.live[r.Seq] = int(r.HostSeq)
		}
		g.mu.Unlock()
		got.commit(b)
	}
	g.fs.enter("start")
	l, err := Open(g.o)
	g.fs.enter("run")
	if g.fs.crashedFS() != nil {
		if err == nil {
			_ = l.Close() // the crash says how it ends
		}
		return false
	}
	if err != nil {
		g.t.Fatalf("crash %d: %v", g.crashes, err)
	}
	g.check(l)
	for clean := false; !clean && g.fs.crashedFS() == nil; clean = g.rng.IntN(12) == 0 {
		var last uint64
		for range 1 + g.rng.IntN(8) {
			last = g.append(l)
		}
		if g.rng.IntN(3) > 0 && last > 0 {
			got.waitOr(last, l.Failed())
		}
	}
	g.fs.enter("end")
	err = l.Close()
	if g.fs.crashedFS() != nil {
		return false
	}
	if err != nil {
		g.t.Fatal(err)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	maps.Copy(g.published, g.live)
	return true
}

// append appends the next event and returns its number, 0 when the log was killed.
func (g *life) append(l *Log) uint64 {
	seq, err := l.Append(context.Background(), testEntry(g.next))
	if errors.Is(err, errKilled) {
		return 0
	}
	if err != nil {
		g.t.Fatal(err)
	}
	if old, used := g.published[seq]; used {
		g.t.Fatalf("seq %d named event %d and now %d", seq, old, g.next)
	}
	g.assigned[seq] = g.next
	g.next++
	return seq
}

// check compares the log after a crash with the truth: all that was published,
// nothing that was not appended, in order.
func (g *lineage) check(l *Log) {
	last, missing := uint64(0), len(g.published)
	for _, r := range readAll(g.t, l, 0) {
		n, ok := g.assigned[r.Seq]
		if !ok || r.Seq <= last {
			g.t.Fatalf("crash %d: seq %d after %d was never appended", g.crashes, r.Seq, last)
		}
		wantEntry(g.t, &r, n)
		if p, ok := g.published[r.Seq]; ok {
			missing--
			if p != n {
				g.t.Fatalf("crash %d: seq %d was event %d, now %d", g.crashes, r.Seq, p, n)
			}
		}
		g.published[r.Seq] = n // readers see it from now on
		last = r.Seq
	}
	if missing != 0 {
		g.t.Fatalf("crash %d: %d published records are gone", g.crashes, missing)
	}
}

// seed returns the test's seed, printed so that a failure can be run again with
// CISTERN_SEED.
func seed(t *testing.T) uint64 {
	s := rand.Uint64()
	if v := os.Getenv("CISTERN_SEED"); v != "" {
		n, err := strconv.ParseUint(v, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		s = n
	}
	t.Logf("CISTERN_SEED=%d", s)
	return s
}

func TestAPowerCutOrAKillAtAnyOperationLosesNothingPublished(t *testing.T) {
	s := seed(t)
	const lines, points = 55, 20
	all := lineage{t: t, fired: map[place]int{}}
	for i := range lines {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			g := newLineage(t, rand.New(rand.NewPCG(s, uint64(i))))
			if i%2 == 1 {
				g.tune = sealSmall
			}
			g.run(points)
			if g.crashes != points {
				t.Fatalf("%d crashes fired, want %d", g.crashes, points)
			}
			all.crashes += g.crashes
			all.kills += g.kills
			all.restarts += g.restarts
			for at, n := range g.fired {
				all.fired[at] += n
			}
		})
	}
	t.Logf("%d crash points fired, %d of them kills; %d clean restarts", all.crashes, all.kills, all.restarts)
	byPhase := all.reportFired()
	for _, during := range []string{"start", "append", "rotate", "reserve", "seal", "end"} {
		if byPhase[during] < 10 {
			t.Errorf("%d crashes came in the middle of %s", byPhase[during], during)
		}
	}
	if all.kills < 100 || all.crashes-all.kills < 100 || all.restarts < 50 {
		t.Error("the crashes do not come as they should")
	}
}

// sealSmall makes a log seal small files.
func sealSmall(o *Options) {
	o.Seal = &SegmentOptions{BlockSize: 1 << 10}
	o.MaxHotBytes = 1 << 10
}

// reportFired prints where the crashes came, and returns how many came during what.
func (g *lineage) reportFired() map[string]int {
	g.t.Helper()
	sum := map[string]int{}
	ops := map[string][]string{}
	for at, n := range g.fired {
		sum[at.during] += n
		ops[at.during] = append(ops[at.during], fmt.Sprintf("%s %d", at.op, n))
	}
	for _, during := range slices.Sorted(maps.Keys(sum)) {
		slices.Sort(ops[during])
		g.t.Logf("%s: %d (before %s)", during, sum[during], strings.Join(ops[during], ", "))
	}
	return sum
}

var errInjected = errors.New("injected: input/output error")

func TestAfterAFailedFsyncNothingOfTheBatchIsSeenAndTheNextStartDistrustsThePageCache(t *testing.T) {
	s := seed(t)
	for i := range 60 {
		rng := rand.New(rand.NewPCG(s, uint64(i)))
		fs := newCrashFS(vfs.NewCrashableMem(), rng)
		o := testOptions(fs)
		committed := newSeen()
		o.OnCommit = committed.commit
		l := mustOpen(t, o)
		before := 1 + rng.IntN(20)
		for n := range before {
			committed.wait(mustAppend(t, l, n))
		}
		fired := false
		fs.mu.Lock()
		fs.fail = func(op errorfs.Op) error {
			if op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncData {
				fired = true
				return errInjected
			}
			if fired {
				t.Errorf("%v %s after the failed sync", op.Kind, op.Path)
			}
			return nil
		}
		fs.mu.Unlock()
		mustAppend(t, l, before)
		<-l.Failed()
		if !fired || !errors.Is(l.Err(), errInjected) {
			t.Fatalf("fired %v, %v", fired, l.Err())
		}
		if got := len(committed.recs); got != before {
			t.Fatalf("%d records published, want %d", got, before)
		}
		if l.Tip() != uint64(before) || len(readAll(t, l, 0)) != before {
			t.Fatal("a reader passed the durable end")
		}
		if _, err := l.Append(context.Background(), testEntry(0)); !errors.Is(err, errInjected) {
			t.Fatalf("append after the failure: %v", err)
		}
		if err := l.Close(); !errors.Is(err, errInjected) {
			t.Fatal(err)
		}
		fs.mu.Lock()
		fs.fail = nil
		fs.mu.Unlock()
		// The page cache still shows the batch, the disk need not have it: start on the
		// cache, then cut the power and keep only what was synced.
		o.FS = fs.mem
		l = mustOpen(t, o)
		recs := readAll(t, l, 0)
		mustClose(t, l)
		o.FS = fs.mem.CrashClone(vfs.CrashCloneCfg{})
		l = mustOpen(t, o)
		again := readAll(t, l, 0)
		mustClose(t, l)
		if len(again) != len(recs) {
			t.Fatalf("the start showed %d records, after a power cut there are %d", len(recs), len(again))
		}
		for n := range again {
			if !bytes.Equal(AppendRecord(nil, &again[n]), AppendRecord(nil, &recs[n])) {
				t.Fatalf("record %d changed", n)
			}
		}
	}
}

func mustClose(t testing.TB, l *Log) {
	t.Helper()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}
