package ship

import (
	"testing"
	"time"
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
	delete(m.objects, CatalogKey(first.Day()))
	after, _ := contents(t, m)
	if len(after) != len(before) || after[0].Name != first.Name {
		t.Errorf("%d segments of %d, from %s on", len(after), len(before), after[0].Name)
	}
}
