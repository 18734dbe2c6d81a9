package identity

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// seconds is when requests came, since the first.
func (w *wire) seconds() []int {
	w.mu.Lock()
	defer w.mu.Unlock()
	var s []int
	for _, m := range w.moment {
		s = append(s, int(m.Sub(w.moment[0]).Round(time.Second).Seconds()))
	}
	return s
}

func TestAnUnchangedDocumentIsAskedForAgainAfter5And60Seconds(t *testing.T) {
	for _, c := range []struct {
		name      string
		changesAt time.Duration // 0: never
		want      []int
	}{
		{"it never changes", 0, []int{0, 0, 5, 60}},
		{"the directory was 3 s behind", 3 * time.Second, []int{0, 0, 5}},
		{"the directory was 20 s behind", 20 * time.Second, []int{0, 0, 5, 60}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, begin := new(wire), time.Now()
				w.set("plc.example", func(string) answer {
					if c.changesAt > 0 && time.Since(begin) >= c.changesAt {
						return doc(docOf(t, someDID, "new.example"))
					}
					return doc(docOf(t, someDID, "old.example"))
				})
				r := wired(t, w, nil, "https://plc.example")
				if _, err := r.Lookup(t.Context(), someDID); err != nil {
					t.Fatal(err)
				}
				id, changed, err := r.Announced(t.Context(), someDID)
				if err != nil || changed || id.Host != "old.example" {
					t.Fatalf("%+v, changed %v, %v", id, changed, err)
				}
				time.Sleep(2 * time.Minute)
				if got := w.seconds(); !slices.Equal(got, c.want) {
					t.Errorf("asked after %v seconds, want %v", got, c.want)
				}
				want := "old.example"
				if c.changesAt > 0 {
					want = "new.example"
				}
				if id, ok, err := r.Cached(someDID); !ok || err != nil || id.Host != want {
					t.Errorf("the cache has %+v, %v, %v; want host %s", id, ok, err, want)
				}
				if n, _ := r.again.pending(); n != 0 {
					t.Errorf("%d are still to be asked for", n)
				}
			})
		})
	}
}

func TestADocumentThatChangedIsNotAskedForAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := new(wire)
		w.always("plc.example", func() answer { return doc(docOf(t, someDID, "old.example")) })
		r := wired(t, w, nil, "https://plc.example")
		if _, err := r.Lookup(t.Context(), someDID); err != nil {
			t.Fatal(err)
		}
		w.always("plc.example", func() answer { return doc(docOf(t, someDID, "new.example")) })
		id, changed, err := r.Announced(t.Context(), someDID)
		if err != nil || !changed || id.Host != "new.example" {
			t.Fatalf("%+v, changed %v, %v", id, changed, err)
		}
		time.Sleep(2 * time.Minute)
		if n := w.count("plc.example"); n != 2 {
			t.Errorf("%d requests, want 2", n)
		}
	})
}

// A directory that fails is not asked again for that: whoever needs the document asks.
func TestAFailedRefreshIsNotAskedForAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := new(wire)
		w.always("plc.example", func() answer { return doc(docOf(t, someDID, "old.example")) })
		r := wired(t, w, nil, "https://plc.example")
		if _, err := r.Lookup(t.Context(), someDID); err != nil {
			t.Fatal(err)
		}
		w.always("plc.example", func() answer { return answer{status: 503} })
		id, changed, err := r.Announced(t.Context(), someDID)
		if err != nil || changed || !id.Stale {
			t.Fatalf("%+v, changed %v, %v; want the old document, stale", id, changed, err)
		}
		if n, _ := r.again.pending(); n != 0 {
			t.Errorf("%d are to be asked for again", n)
		}
	})
}

func TestManyAnnouncementsOfOneAccountAreOneRecheck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var asked []time.Duration
		begin := time.Now()
		a := newAgain(func(string, [32]byte) {
			mu.Lock()
			defer mu.Unlock()
			asked = append(asked, time.Since(begin))
		})
		var wg sync.WaitGroup
		wg.Go(func() { a.run(t.Context()) })
		for range 4 {
			for range 100 {
				a.add(someDID, [32]byte{})
			}
			time.Sleep(time.Second)
		}
		if n, _ := a.pending(); n != 1 {
			t.Errorf("%d are pending, want 1", n)
		}
		time.Sleep(2 * time.Minute)
		mu.Lock()
		defer mu.Unlock()
		if want := []time.Duration{8 * time.Second, 63 * time.Second}; !slices.Equal(asked, want) {
			t.Errorf("asked at %v, want %v: as the last one says", asked, want)
		}
	})
}

func TestRechecksAreBounded(t *testing.T) {
	a := newAgain(nil)
	for i := range 2 * maxAgain {
		a.add(fmt.Sprint(i), [32]byte{})
	}
	if n, dropped := a.pending(); n != maxAgain || dropped != maxAgain {
		t.Errorf("%d pending and %d dropped, want %d each", n, dropped, maxAgain)
	}
	b := newAgain(nil)
	for range 2 * maxAgain {
		b.add(someDID, [32]byte{})
	}
	if len(b.queues[0]) > maxAgain {
		t.Errorf("one DID is there %d times", len(b.queues[0]))
	}
}

func TestCloseEndsRechecks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := new(wire)
		w.always("plc.example", func() answer { return doc(docOf(t, someDID, "pds.example")) })
		r := wired(t, w, nil, "https://plc.example")
		if _, _, err := r.Announced(t.Context(), someDID); err != nil {
			t.Fatal(err)
		}
		r.Close()
		time.Sleep(2 * time.Minute)
		if n := w.count("plc.example"); n != 1 {
			t.Errorf("%d requests, want 1", n)
		}
	})
}
