package ship

import (
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
	"time"
	"unsafe"

	"github.com/cistern-archive/cistern/segmentlog"
)

func TestACatalogOfTheFirstDayThatIsGoneDoesNotHideTheFirstDay(t *testing.T) {
	m := newMemory()
	o := options(m, t.TempDir())
	now := time.Now()
	for _, day := range []time.Time{now.Add(-48 * time.Hour), now} {
		o.Now = func() time.Time { return day }
		w := mustStart(t, o)
		w.append("event", 100)
		w.allShipped()
		w.stop()
	}
	before, _ := contents(t, m)
	first := before[0]
	if first.Day() == before[len(before)-1].Day() {
		t.Fatal("the log is of one day")
	}
	delete(m.Objects, CatalogKey(first.Day()))
	after, _ := contents(t, m)
	if len(after) != len(before) || after[0].Name != first.Name {
		t.Errorf("%d segments of %d, from %s on", len(after), len(before), after[0].Name)
	}
}

// What is found without a line costs memory by how much it is, not by its square: a day's
// catalog may be lost with all of its lines.
func TestALostCatalogOfManySegmentsIsPutTogetherInOneGo(t *testing.T) {
	const n = 20_000
	found := make([]Entry, n)
	for i := range found {
		found[i].Name = segmentlog.SegmentName{Epoch: 1, FirstSeq: uint64(i) + 1, LastSeq: uint64(i) + 1}
	}
	rand.Shuffle(n, func(i, j int) { found[i], found[j] = found[j], found[i] })
	v := &Inventory{days: map[Day]*dayCatalog{}}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	v.add("2026-11-27", found)
	runtime.ReadMemStats(&after)
	got := v.days["2026-11-27"]
	if len(got.entries) != n || !got.stale || v.Found != n || !slices.IsSortedFunc(got.entries, func(a, b Entry) int { return compareNames(a.Name, b.Name) }) {
		t.Errorf("%d entries, %d found", len(got.entries), v.Found)
	}
	if used, most := after.TotalAlloc-before.TotalAlloc, uint64(4*n*unsafe.Sizeof(Entry{})); used > most {
		t.Errorf("%d bytes allocated, at most %d expected", used, most)
	}
}
