package ship

import (
	"errors"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/cistern-archive/cistern/segmentlog/bucket"
)

// A catalog is trusted at a start, so a log may believe that the archive has what was
// deleted from it.
func TestWhatTheStoreLostSinceIsNotHeld(t *testing.T) {
	m := newMemory()
	o := options(m, t.TempDir())
	w := mustStart(t, o)
	w.append("event", 200)
	w.allShipped()
	w.stop()
	deleted, cut := w.shipped[0], w.shipped[1]
	delete(m.Objects, deleted.Key())
	obj := m.Objects[cut.Key()]
	obj.Bytes = obj.Bytes[1:]
	m.Objects[cut.Key()] = obj

	w = mustStart(t, o)
	defer w.kill()
	for _, f := range w.log.Sealed(0) {
		if !f.Archived {
			continue
		}
		err := w.shipper.Holds(t.Context(), &f)
		var mismatch *bucket.MismatchError
		switch f.Name {
		case deleted.Name:
			if !errors.Is(err, bucket.ErrNotFound) {
				t.Errorf("deleted: %v", err)
			}
		case cut.Name:
			if !errors.As(err, &mismatch) {
				t.Errorf("cut: %v", err)
			}
		default:
			if err != nil {
				t.Errorf("%s: %v", f.Name, err)
			}
		}
	}
}

// What the store showed to this process may go when the store is away; what it did not
// show, or what it refuses to speak about, may not.
func TestASegmentIsHeldByAStoreThatIsAwayOnlyIfItShowedIt(t *testing.T) {
	m := newMemory()
	o := options(m, t.TempDir())
	w := mustStart(t, o)
	w.append("event", 200)
	w.allShipped()
	w.stop()
	deleted := w.shipped[1]
	delete(m.Objects, deleted.Key())

	w = mustStart(t, o)
	defer w.kill()
	w.append("later", 60)
	w.allShipped() // what was shipped before is asked for before that
	var asked atomic.Int64
	away := func(err error) {
		m.Mu.Lock()
		defer m.Mu.Unlock()
		m.Reading = func(key string) error {
			asked.Add(1)
			return fmt.Errorf("%s: %w", key, err)
		}
	}
	files := w.log.Sealed(0)
	for _, err := range []error{bucket.ErrUnavailable, bucket.ErrRefused} {
		away(err)
		held := 0
		for _, f := range files {
			got := w.shipper.Holds(t.Context(), &f)
			if got == nil {
				held++
			}
			if want := errors.Is(err, bucket.ErrUnavailable) && f.Name != deleted.Name; want != (got == nil) {
				t.Errorf("%v: %s: %v", err, f.Name, got)
			}
		}
		t.Logf("%v: %d of %d segments may go", err, held, len(files))
	}
	if len(files) < 5 || asked.Load() != 2*int64(len(files)) {
		t.Errorf("%d segments, the store was asked %d times", len(files), asked.Load())
	}
	// It is back, and has lost one: it is not believed about that when it goes again.
	m.Mu.Lock()
	m.Reading = nil
	lost := files[0]
	e, _ := w.shipper.Find(lost.Name)
	delete(m.Objects, e.Key())
	m.Mu.Unlock()
	if err := w.shipper.Holds(t.Context(), &lost); !errors.Is(err, bucket.ErrNotFound) {
		t.Errorf("it lost one: %v", err)
	}
	away(bucket.ErrUnavailable)
	if err := w.shipper.Holds(t.Context(), &lost); !errors.Is(err, bucket.ErrUnavailable) {
		t.Errorf("it lost one and went away: %v", err)
	}
}
