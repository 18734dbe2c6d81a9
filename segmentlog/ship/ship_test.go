package ship

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/cistern-archive/cistern/segmentlog/bucket"
)

func TestEverySealedSegmentIsInTheArchiveOnceAndInItsCatalog(t *testing.T) {
	m := newMemory()
	w := mustStart(t, options(m, t.TempDir()))
	w.append("event", 400)
	w.allShipped()
	objects := m.Snapshot()
	files := w.log.Sealed(0)
	if len(files) < 5 {
		t.Fatalf("%d segments", len(files))
	}
	for i, f := range files {
		local, err := os.ReadFile(f.Path)
		if err != nil {
			t.Fatal(err)
		}
		if !f.Archived {
			t.Errorf("the log does not know that %s is archived", f.Name)
		}
		if key := w.shipped[i].Key(); !bytes.Equal(objects[key], local) {
			t.Errorf("%s is not what stands in %s", f.Path, key)
		}
	}
	w.stop()
	created := map[string]int{}
	for _, c := range m.Calls {
		if strings.HasPrefix(c, "create "+segmentPrefix) {
			created[c]++
		}
	}
	if len(created) != len(files) {
		t.Errorf("%d objects created for %d segments", len(created), len(files))
	}
	for c, n := range created {
		if n != 1 {
			t.Errorf("%d times %s", n, c)
		}
	}
	named := 0
	for key, b := range m.Snapshot() {
		if d, ok := parseCatalogKey(key); ok {
			entries, err := ParseCatalog(d, b)
			if err != nil {
				t.Fatal(err)
			}
			named += len(entries)
		}
	}
	if named != len(files) {
		t.Errorf("the catalogs name %d of %d segments", named, len(files))
	}
}

// A kill before or after any call that changes the archive, and a start after it.
func TestAKillAtAnyCallLeavesNoHoleNoDuplicateAndNoOrphan(t *testing.T) {
	for _, done := range []bool{false, true} {
		for at := 1; ; at++ {
			if !killedAt(t, at, done) {
				t.Logf("killed at each of %d calls, which were done: %t", at-1, done)
				if at < 10 {
					t.Error("that is too few to mean anything")
				}
				break
			}
		}
	}
}

// killedAt kills the writer at a call, starts it again and checks the archive. It is
// false when there were fewer calls.
func killedAt(t *testing.T, at int, done bool) (killed bool) {
	t.Helper()
	m := newMemory()
	o := options(m, t.TempDir())
	errKilled := errors.New("killed")
	calls, dead := 0, make(chan struct{})
	hook := func(string) error {
		m.Mu.Lock()
		defer m.Mu.Unlock()
		if calls++; calls == at {
			close(dead)
		}
		if calls >= at { // the dead do nothing more
			return errKilled
		}
		return nil
	}
	before := func(string) error {
		m.Mu.Lock()
		defer m.Mu.Unlock()
		if calls >= at {
			return errKilled
		}
		return nil
	}
	m.Mu.Lock()
	if done {
		m.After, m.Before = hook, before
	} else {
		m.Before = hook
	}
	m.Mu.Unlock()
	w, err := start(t, o)
	if err == nil {
		w.append("event", 150)
		w.until(func() bool {
			select {
			case <-dead:
				killed = true
			default:
			}
			return killed || w.shippedAll()
		})
		if killed {
			w.kill()
		}
	} else {
		killed = true
		if !errors.Is(err, errKilled) {
			t.Fatal(err)
		}
	}
	m.Mu.Lock()
	m.Before, m.After = nil, nil
	m.Mu.Unlock()
	if !killed {
		w.stop()
		return false
	}
	again := mustStart(t, o)
	again.append("later", 60)
	again.allShipped()
	entries, events := contents(t, m)
	for _, f := range again.log.Sealed(0) {
		if !f.Archived {
			t.Errorf("kill at call %d (done: %t): %s is not archived", at, done, f.Name)
		}
	}
	if len(entries) != len(again.log.Sealed(0)) {
		t.Errorf("kill at call %d (done: %t): %d segments in the archive, %d local", at, done, len(entries), len(again.log.Sealed(0)))
	}
	seen := map[string]uint64{}
	for seq, e := range events {
		if other, twice := seen[e]; twice {
			t.Errorf("%q is %d and %d", e, seq, other)
		}
		seen[e] = seq
	}
	objects := 0
	for key := range m.Snapshot() {
		if strings.HasPrefix(key, segmentPrefix) {
			objects++
		}
	}
	if objects != len(entries) {
		t.Errorf("kill at call %d (done: %t): %d objects, %d segments of the log", at, done, objects, len(entries))
	}
	again.stop()
	return true
}

func TestWhatTheArchiveDoesNotConfirmIsNotShipped(t *testing.T) {
	m := newMemory()
	w := mustStart(t, options(m, t.TempDir()))
	m.Mu.Lock()
	m.After = func(call string) error { // the store loses a byte of what it said that it took
		key, ok := strings.CutPrefix(call, "create "+segmentPrefix)
		if !ok {
			return nil
		}
		m.Mu.Lock()
		defer m.Mu.Unlock()
		o := m.Objects[segmentPrefix+key]
		o.Bytes = o.Bytes[:len(o.Bytes)-1]
		m.Objects[segmentPrefix+key] = o
		return nil
	}
	m.Mu.Unlock()
	w.append("event", 100)
	w.until(func() bool { return w.failed["mismatch"] > 0 || len(w.shipped) > 0 })
	if n := w.shipper.Through(); n != 0 {
		t.Errorf("shipped through %d", n)
	}
	for _, f := range w.log.Sealed(0) {
		if f.Archived {
			t.Errorf("%s counts as archived", f.Name)
		}
		if err := w.log.Evict(f.Name); err == nil {
			t.Errorf("%s was evicted", f.Name)
		}
	}
	w.kill()
}

func TestWhatNoCatalogNamesIsFoundAndTheCatalogMended(t *testing.T) {
	for name, harm := range map[string]func(m *memory, key string){
		"deleted": func(m *memory, key string) { delete(m.Objects, key) },
		"cut": func(m *memory, key string) {
			o := m.Objects[key]
			o.Bytes = o.Bytes[:len(o.Bytes)/2]
			m.Objects[key] = o
		},
		"a line short": func(m *memory, key string) {
			o := m.Objects[key]
			o.Bytes = o.Bytes[:bytes.LastIndexByte(o.Bytes[:len(o.Bytes)-1], '\n')+1]
			m.Objects[key] = o
		},
		"another word": func(m *memory, key string) {
			o := m.Objects[key]
			o.Bytes = bytes.Replace(o.Bytes, []byte(`"bytes":`), []byte(`"sizes":`), 1)
			m.Objects[key] = o
		},
	} {
		m := newMemory()
		o := options(m, t.TempDir())
		w := mustStart(t, o)
		w.append("event", 200)
		w.allShipped()
		w.stop()
		before, _ := contents(t, m)
		whole := m.Snapshot()
		for key := range whole {
			if _, ok := parseCatalogKey(key); ok {
				harm(m, key)
			}
		}
		after, _ := contents(t, m)
		if fmt.Sprint(before) != fmt.Sprint(after) {
			t.Errorf("%s: %d segments, %d before", name, len(after), len(before))
		}
		w = mustStart(t, o)
		w.append("later", 60)
		w.allShipped()
		w.stop()
		for key, b := range m.Snapshot() {
			if _, ok := parseCatalogKey(key); ok && !bytes.HasPrefix(b, whole[key]) {
				t.Errorf("%s: %s is not what it was and more", name, key)
			}
		}
	}
}

func TestAHoleInTheArchiveIsAnError(t *testing.T) {
	m := newMemory()
	o := options(m, t.TempDir())
	w := mustStart(t, o)
	w.append("event", 200)
	w.allShipped()
	w.stop()
	gone := w.shipped[1]
	delete(m.Objects, gone.Key())
	for key, obj := range m.Objects {
		if _, ok := parseCatalogKey(key); ok {
			var line []byte
			obj.Bytes = bytes.Replace(obj.Bytes, gone.append(line), nil, 1)
			m.Objects[key] = obj
		}
	}
	_, err := Attach(t.Context(), o)
	var gap *GapError
	if !errors.As(err, &gap) || gap.Before != w.shipped[0].Name || gap.After != w.shipped[2].Name {
		t.Errorf("%v", err)
	}
}

func TestAStoreThatIsAwayDelaysShippingAndLosesNothing(t *testing.T) {
	m := newMemory()
	w := mustStart(t, options(m, t.TempDir()))
	fails := 3
	m.Mu.Lock()
	m.Before = func(string) error {
		m.Mu.Lock()
		defer m.Mu.Unlock()
		if fails--; fails >= 0 {
			return fmt.Errorf("503: %w", bucket.ErrUnavailable)
		}
		return nil
	}
	m.Mu.Unlock()
	w.append("event", 100)
	w.allShipped()
	if w.failed["unavailable"] == 0 {
		t.Error("no failure was felt")
	}
	w.stop()
	if _, events := contents(t, m); len(events) == 0 {
		t.Error("nothing is there")
	}
}
