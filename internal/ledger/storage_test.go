package ledger

import (
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// faultFS keeps what a power cut at its n-th write would leave, and can fail writes.
type faultFS struct {
	vfs.FS
	mem *vfs.MemFS

	mu      sync.Mutex
	left    int // writes until the cut
	crashed *vfs.MemFS
	fail    error
	failed  int // writes that did
}

func newFaultFS(left int) *faultFS {
	f := &faultFS{mem: vfs.NewCrashableMem(), left: left}
	f.FS = errorfs.Wrap(f.mem, errorfs.InjectorFunc(f.inject))
	return f
}

func (f *faultFS) inject(op errorfs.Op) error {
	if op.Kind.ReadOrWrite() == errorfs.OpIsRead {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.left--; f.left == 0 {
		f.crashed = f.cut(nil)
	}
	if f.fail != nil && op.Kind != errorfs.OpRemove {
		f.failed++
		return f.fail
	}
	return nil
}

// cut is what a power cut would leave now: without rng nothing that is not synced.
func (f *faultFS) cut(rng *rand.Rand) *vfs.MemFS {
	if rng == nil {
		return f.mem.CrashClone(vfs.CrashCloneCfg{})
	}
	return f.mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 50, RNG: rng})
}

func (f *faultFS) setFail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fail = err
}

func TestAKillLosesOnlyWhatCameAfterTheLastWrite(t *testing.T) {
	c, fs := newClock(), newFaultFS(0)
	l := open(t, stored(fs, c))
	h := l.Host("a")
	for range 10 {
		h.Received(1)
	}
	c.pass(t, l, time.Minute)
	// The write goes on beside us.
	until(t, "the rows to be durable", func() bool {
		return row(t, open(t, stored(fs.cut(nil), c)), "a", noon).Received == 10
	})
	for range 5 {
		h.Received(1)
	}
	if got := row(t, l, "a", noon).Received; got != 15 {
		t.Fatalf("%d received", got)
	}
	after := open(t, stored(fs.cut(nil), c))
	if got := row(t, after, "a", noon).Received; got != 10 {
		t.Errorf("%d received after the kill, want the 10 that were stored", got)
	}
	after.Host("a").Received(1)
	if got := row(t, after, "a", noon).Received; got != 11 {
		t.Errorf("%d received, want the hour to go on from 10", got)
	}
}

// Wherever the power is cut, each row is as it was at some write, or not there.
func TestACutOfPowerLeavesRowsAsTheyOnceWere(t *testing.T) {
	rng := seeded(t)
	fired, kept := 0, 0
	for range 40 {
		c, fs := newClock(), newFaultFS(20+rng.IntN(120))
		l := open(t, stored(fs, c))
		written := make(map[string][]uint64)
		for range 30 {
			for i := range 3 {
				for range rng.IntN(4) {
					l.Host(hostName(i)).Received(1)
				}
			}
			c.pass(t, l, time.Duration(1+rng.IntN(30))*time.Minute)
			for name, r := range rows(t, l) {
				written[name] = append(written[name], r.Received)
			}
		}
		closeLedger(t, l)
		if fs.crashed == nil {
			continue
		}
		fired++
		var log lines
		o := stored(fs.crashed, c)
		o.Logger = log.logger()
		after := open(t, o)
		for name, r := range rows(t, after) {
			kept++
			if !slices.Contains(written[name], r.Received) {
				t.Fatalf("%s has %d received, which it never had: %v", name, r.Received, written[name])
			}
		}
		after.Host(hostName(0)).Received(1)
		closeLedger(t, after)
		if strings.Contains(log.String(), "aside") {
			t.Errorf("a cut of power was taken for damage:\n%s", &log)
		}
	}
	if fired < 15 || kept < 60 {
		t.Errorf("%d cuts fell into the run, %d rows were left", fired, kept)
	}
}

func TestAFullDiskStopsStoringAndNotCounting(t *testing.T) {
	c, fs, log := newClock(), newFaultFS(0), new(lines)
	o := stored(fs, c)
	o.Logger = log.logger()
	l := open(t, o)
	h := l.Host("a")
	count := func() {
		h.Received(1)
		c.pass(t, l, time.Hour)
	}
	count()
	fs.setFail(syscall.ENOSPC)
	until(t, "the disk to be found full", func() bool {
		h.Received(1)
		c.pass(t, l, time.Minute)
		return strings.Contains(log.String(), "counting goes on in memory")
	})
	for range 5 {
		count()
	}
	if fs.failed == 0 {
		t.Fatal("nothing failed")
	}
	want := rows(t, l)
	if len(want) < 6 {
		t.Errorf("%d rows are to be seen while the disk is full", len(want))
	}
	fs.setFail(nil)
	until(t, "storing to go on", func() bool {
		c.pass(t, l, time.Minute)
		return len(l.waiting.rows) == 0
	})
	closeLedger(t, l)
	o.FS = fs.cut(nil)
	same(t, rows(t, open(t, o)), want)
	if n := strings.Count(log.String(), "counting goes on in memory"); n != 1 {
		t.Errorf("the full disk was logged %d times:\n%s", n, log)
	}
	if !strings.Contains(log.String(), "can be stored again") {
		t.Errorf("nothing says that storing goes on:\n%s", log)
	}
}

func TestADiskThatIsFullAtTheStartStopsNoStart(t *testing.T) {
	c, fs, log := newClock(), newFaultFS(0), new(lines)
	o := stored(fs, c)
	l := open(t, o)
	l.Host("a").Received(1)
	closeLedger(t, l)

	fs.setFail(syscall.ENOSPC)
	o.Logger = log.logger()
	l = open(t, o)
	l.Host("a").Received(1)
	if _, err := l.Query(t.Context(), Query{Limit: 1}); !errors.Is(err, ErrUnavailable) {
		t.Errorf("%v, though half of the hour cannot be read", err)
	}
	c.pass(t, l, time.Minute)
	fs.setFail(nil)
	c.pass(t, l, time.Minute)
	if got := row(t, l, "a", noon).Received; got != 2 {
		t.Errorf("%d received, want both", got)
	}
	if n := strings.Count(log.String(), "counting goes on in memory"); n != 1 {
		t.Errorf("the full disk was logged %d times:\n%s", n, log)
	}
}

func TestWhatWaitsIsBoundedAndTheOldestHoursGoFirst(t *testing.T) {
	c, fs := newClock(), newFaultFS(0)
	fs.setFail(syscall.ENOSPC)
	o := stored(fs, c)
	o.WaitingBytes = 20_000
	l := open(t, o)
	for range 10 {
		for i := range 20 {
			l.Host(hostName(i)).Received(1)
		}
		c.pass(t, l, time.Hour)
		if l.waiting.bytes > o.WaitingBytes {
			t.Fatalf("%d bytes wait", l.waiting.bytes)
		}
	}
	l.Host("now").Received(1)
	fs.setFail(nil)
	c.pass(t, l, time.Minute)
	all := rows(t, l)
	if n := len(all); n < 40 || n > 120 || n%20 != 1 {
		t.Errorf("%d rows are left", n)
	}
	hours := (len(all) - 1) / 20
	for i := range hours {
		name := rowName(hostName(3), noon.Add(time.Duration(9-i)*time.Hour))
		if all[name] == nil {
			t.Errorf("%s is lost, and older ones are not", name)
		}
	}
	if all["now 2026-01-02T22:00:00Z"] == nil {
		t.Error("the present hour is lost")
	}
	if lost := counter(t, l.metrics.lost); lost != float64(200-len(all)+1) {
		t.Errorf("%v rows are counted as lost", lost)
	}
}

// damage overwrites the middle of every table.
func damage(t *testing.T, fs vfs.FS) (damaged int) {
	t.Helper()
	names, err := fs.List(testDir)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if !strings.HasSuffix(name, ".sst") {
			continue
		}
		path := fs.PathJoin(testDir, name)
		info, err := fs.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		f, err := fs.OpenReadWrite(path, "unspecified")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteAt(make([]byte, info.Size()), 0); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		damaged++
	}
	return damaged
}

func aside(t *testing.T, fs vfs.FS) (files int) {
	t.Helper()
	names, err := fs.List("")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if strings.HasPrefix(name, testDir+".damaged-") {
			inside, err := fs.List(name)
			if err != nil {
				t.Fatal(err)
			}
			files += len(inside)
		}
	}
	return files
}

func TestADamagedLedgerIsSetAsideAndStopsNoStart(t *testing.T) {
	for _, how := range []string{"tables", "manifest"} {
		t.Run(how, func(t *testing.T) {
			c, fs, log := newClock(), vfs.NewMem(), new(lines)
			o := stored(fs, c)
			o.Logger = log.logger()
			l := open(t, o)
			l.Host("a").Received(1)
			closeLedger(t, l)
			if how == "tables" {
				if damage(t, fs) == 0 {
					t.Fatal("no table")
				}
			} else {
				names, err := fs.List(testDir)
				if err != nil {
					t.Fatal(err)
				}
				for _, name := range names {
					if strings.HasPrefix(name, "MANIFEST") {
						if err := fs.Remove(fs.PathJoin(testDir, name)); err != nil {
							t.Fatal(err)
						}
					}
				}
			}
			l = open(t, o)
			l.Host("a").Received(1)
			// Tables are found damaged when they are first read.
			until(t, "a sound store", func() bool {
				c.pass(t, l, time.Minute)
				return counter(t, l.metrics.stored) == 1
			})
			if got := row(t, l, "a", noon).Received; got != 1 {
				t.Errorf("%d received", got)
			}
			closeLedger(t, l)
			if got := row(t, open(t, o), "a", noon).Received; got != 1 {
				t.Errorf("%d received after the next start", got)
			}
			if aside(t, fs) == 0 {
				t.Error("nothing was set aside")
			}
			if n := strings.Count(log.String(), "is set aside and begun anew"); n != 1 {
				t.Errorf("logged %d times:\n%s", n, log)
			}
		})
	}
}

func TestARowThatCannotBeReadIsLeftOut(t *testing.T) {
	c, fs, log := newClock(), vfs.NewMem(), new(lines)
	o := stored(fs, c)
	o.Logger = log.logger()
	l := open(t, o)
	hour := noon.Unix() / 3600
	for key, value := range map[string]string{
		string(appendKey(nil, hour, "newer")): "\x02whatever", string(appendKey(nil, hour, "bad")): "\x01", "short": "", "\xff1234567host": "\x01",
	} {
		b := l.keeper.store.NewBatch()
		if err := errors.Join(b.Set([]byte(key), []byte(value), nil), l.keeper.store.Commit(t.Context(), b)); err != nil {
			t.Fatal(err)
		}
	}
	l.Host("good").Received(1)
	l.Host("bad").Received(1)
	if all := rows(t, l); len(all) != 2 || all["good 2026-01-02T12:00:00Z"] == nil {
		t.Errorf("%v", all)
	}
	c.pass(t, l, time.Minute)
	if all := rows(t, l); len(all) != 2 {
		t.Errorf("%v", all)
	}
	if !strings.Contains(log.String(), "cannot be read") {
		t.Errorf("nothing says so:\n%s", log)
	}
}

func TestARealDirectoryKeepsTheLedger(t *testing.T) {
	c := newClock()
	o := Options{Dir: t.TempDir() + "/ledger", Now: c.now}
	for i := range 3 {
		l := open(t, o)
		l.Host("a").Received(1)
		if got := row(t, l, "a", noon).Received; got != uint64(i+1) {
			t.Errorf("%d received, want %d", got, i+1)
		}
		if i == 0 { // a second process cannot use it, and does not fail
			second := open(t, o)
			second.Host("a").Received(1)
			c.pass(t, second, time.Minute)
			closeLedger(t, second)
		}
		closeLedger(t, l)
	}
}
