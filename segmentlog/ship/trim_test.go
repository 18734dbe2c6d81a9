package ship

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func TestTheLogIsTrimmedFromItsBeginningWhereverItIsKilled(t *testing.T) {
	for at := 0; ; at++ {
		m := newMemory()
		o := options(m, t.TempDir())
		w := mustStart(t, o)
		w.append("old", 200)
		w.allShipped()
		cut := time.Now()
		w.append("new", 200)
		w.allShipped()
		calls, killed := 0, false
		m.Mu.Lock()
		m.Before = func(string) error {
			m.Mu.Lock()
			defer m.Mu.Unlock()
			if calls++; at > 0 && calls >= at {
				killed = true
				return errors.New("killed")
			}
			return nil
		}
		m.Mu.Unlock()
		if _, err := w.shipper.Trim(t.Context(), cut); (err != nil) != killed {
			t.Fatal(err)
		}
		m.Mu.Lock()
		m.Before = nil
		m.Mu.Unlock()
		w.kill()
		w = mustStart(t, o)
		w.allShipped() // what was hot
		if _, err := w.shipper.Trim(t.Context(), cut); err != nil {
			t.Fatal(err)
		}
		entries, events := contents(t, m)
		through := w.archive.Stream().TrimmedThrough
		if through == 0 || len(entries) == 0 || entries[0].Name.FirstSeq != through+1 || w.log.Oldest() != through+1 {
			t.Fatalf("killed at %d: trimmed through %d, the log begins at %d", at, through, w.log.Oldest())
		}
		for seq, e := range events {
			if seq <= through {
				t.Errorf("killed at %d: %d, %q, is still there", at, seq, e)
			}
		}
		segments := 0
		for key := range m.Snapshot() {
			if strings.HasPrefix(key, segmentPrefix) {
				segments++
			}
		}
		if segments != len(entries) {
			t.Errorf("killed at %d: %d objects, %d segments of the log", at, segments, len(entries))
		}
		bytes := int64(0)
		for i := range entries {
			bytes += entries[i].Bytes
		}
		if n, size := w.shipper.Totals(); n != len(entries) || size != bytes {
			t.Errorf("killed at %d: totals of %d segments and %d bytes, there are %d and %d", at, n, size, len(entries), bytes)
		}
		if n, err := w.shipper.Trim(t.Context(), cut); n != 0 || err != nil {
			t.Errorf("again: %d, %v", n, err)
		}
		if n, err := w.shipper.Trim(t.Context(), time.Now().Add(time.Hour)); n == 0 || err != nil {
			t.Errorf("all: %d, %v", n, err)
		}
		if left, _ := contents(t, m); len(left) != 1 {
			t.Errorf("%d segments stay", len(left))
		}
		w.append("later", 100)
		w.allShipped()
		w.stop()
		if at > 0 && !killed {
			t.Logf("killed at each of %d calls", at-1)
			if at < 5 {
				t.Error("that is too few to mean anything")
			}
			return
		}
	}
}
