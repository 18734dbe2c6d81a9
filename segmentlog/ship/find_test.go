package ship

import (
	"fmt"
	"testing"
	"time"

	"github.com/cistern-archive/cistern/segmentlog"
)

func TestEverySegmentIsFoundByItsNameAndNoneThatIsGone(t *testing.T) {
	m, o := trimmedArchive(t) // what was loaded
	w := mustStart(t, o)
	defer w.kill()
	w.append("later", 60) // what was shipped since
	w.allShipped()
	all := w.shipper.Catalog("", "")
	for _, e := range all {
		if got, found := w.shipper.Find(e.Name); !found || !got.same(&e) {
			t.Errorf("%s is not found: %+v", e.Name, got)
		}
	}
	if n, err := w.shipper.Trim(t.Context(), time.Now().Add(time.Hour)); n != len(all)-1 || err != nil {
		t.Fatal(n, err)
	}
	last := all[len(all)-1]
	for _, e := range all {
		if _, found := w.shipper.Find(e.Name); found != (e.Name == last.Name) {
			t.Errorf("after the trim %s is found: %t", e.Name, found)
		}
	}
	w.shipper.mu.Lock()
	defer w.shipper.mu.Unlock()
	if n := len(w.shipper.dayOf); n != 1 {
		t.Errorf("%d names are known of 1, the bucket has %d objects", n, len(m.Snapshot()))
	}
}

// A relay of ten years has thousands of days; a download looks for one segment.
func TestASegmentIsFoundWithoutLookingThroughTheDays(t *testing.T) {
	_, o := trimmedArchive(t)
	w := mustStart(t, o)
	defer w.kill()
	w.append("later", 60)
	w.allShipped()
	e := w.shipped[0]
	decoy := &dayCatalog{entries: []Entry{e}} // a day that says so too
	decoy.entries[0].Bytes = 1
	w.shipper.mu.Lock()
	for i := range 4000 {
		w.shipper.days[Day(fmt.Sprintf("day %d", i))] = decoy
	}
	w.shipper.mu.Unlock()
	for range 100 {
		if got, found := w.shipper.Find(e.Name); !found || got.Bytes != e.Bytes {
			t.Fatalf("%+v", got)
		}
	}
	if _, found := w.shipper.Find(segmentlog.SegmentName{Epoch: 1, FirstSeq: 1 << 40, LastSeq: 1 << 41}); found {
		t.Error("what is not there is found")
	}
}
