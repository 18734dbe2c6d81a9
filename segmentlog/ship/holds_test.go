package ship

import (
	"errors"
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
	delete(m.objects, deleted.Key())
	obj := m.objects[cut.Key()]
	obj.bytes = obj.bytes[1:]
	m.objects[cut.Key()] = obj

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
