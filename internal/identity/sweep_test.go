package identity

import (
	"fmt"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/cistern-archive/cistern/internal/signing"
)

func TestADocumentFromTheFutureIsAskedForAgain(t *testing.T) {
	fs, clock, w := vfs.NewMem(), newHand(), honestWire(t)
	r := on(t, w, storedOptions(fs, clock))
	mustLookup(t, r, someDID, false)
	r.Close()
	clock.move(-time.Hour)
	r = on(t, w, storedOptions(fs, clock))
	mustLookup(t, r, someDID, false)
	if n := w.count("plc.example"); n != 2 {
		t.Errorf("%d requests, want 2", n)
	}
}

func TestSweepsDropWhatIsTooOldAndKeepToTheBudget(t *testing.T) {
	fs, clock, w := vfs.NewMem(), newHand(), honestWire(t)
	r := on(t, w, storedOptions(fs, clock))
	const each = 100
	for day := range 10 {
		for i := range each {
			r.store.put(fmt.Sprintf("did:plc:%012d%012d", i, day), &Identity{Key: keyOfDoc(t), Host: "pds.example"})
		}
		clock.move(24 * time.Hour)
	}
	r.store.flush(t.Context())
	days := func() (found [10]int) {
		for day := range 10 {
			for i := range each {
				if _, ok := r.store.get(fmt.Sprintf("did:plc:%012d%012d", i, day)); ok {
					found[day]++
				}
			}
		}
		return found
	}
	limit := r.store.sweep(t.Context(), freshFor+staleFor)
	if found := days(); limit != freshFor+staleFor || found != [10]int{0, 0, 0, each, each, each, each, each, each, each} {
		t.Errorf("limit %v, left by day: %v", limit, found)
	}
	r.store.budget = 3 * each * 130
	limit = r.store.sweep(t.Context(), limit)
	r.store.sweep(t.Context(), limit)
	found := days()
	var left int
	for _, n := range found {
		left += n
	}
	if left < each || left > 3*each || found[9] != each {
		t.Errorf("limit %v, left by day: %v", limit, found)
	}
}

func keyOfDoc(t *testing.T) *signing.Key {
	t.Helper()
	id, err := parseDocument(someDID, []byte(docOf(t, someDID, "pds.example")))
	must(t, err)
	return id.Key
}

func TestASweepDropsNothingThatWasJustRefreshed(t *testing.T) {
	fs, clock, w := vfs.NewMem(), newHand(), honestWire(t)
	r := on(t, w, storedOptions(fs, clock))
	mustLookup(t, r, someDID, false)
	r.store.flush(t.Context())
	clock.move(freshFor + staleFor + time.Hour)
	mustLookup(t, r, someDID, false) // pending
	r.store.sweep(t.Context(), freshFor+staleFor)
	if _, ok := r.store.get(someDID); !ok {
		t.Error("a document that waits to be written is gone")
	}
	r.store.flush(t.Context())
	r.store.sweep(t.Context(), freshFor+staleFor)
	if _, ok := r.store.get(someDID); !ok {
		t.Error("a fresh document is gone")
	}
}
