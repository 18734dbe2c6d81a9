package verify

import (
	"bytes"
	"flag"
	"testing"
	"time"

	"github.com/cistern-archive/cistern/segmentlog"
)

var seedFlag = flag.Uint64("seed", 0, "seed of the property tests; 0 takes the clock")

func testSeed(t testing.TB) uint64 {
	seed := *seedFlag
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("-seed=%d", seed)
	return seed
}

func testVerifier() *Verifier {
	return New(Options{Now: func() time.Time { return testNow.Add(time.Hour) }})
}

// randomChanges returns 1 to max changes of distinct paths.
func (r *testRepo) randomChanges(most int, tall bool) []change {
	var out []change
	used := map[string]bool{}
	keys := r.keys()
	for range 1 + r.rng.IntN(most) {
		path := r.pick(tall)
		if len(keys) > 0 && r.rng.IntN(2) == 0 {
			path = keys[r.rng.IntN(len(keys))]
		}
		if used[path] {
			continue
		}
		used[path] = true
		if _, had := r.values[path]; had && r.rng.IntN(3) > 0 {
			out = append(out, change{path: path})
		} else {
			out = append(out, r.put(path))
		}
	}
	return out
}

// Every honest history of a repo is accepted, commit by commit, and undoing each
// commit gives the root that the repo really had.
func TestHonestHistoriesAreAccepted(t *testing.T) {
	seed := testSeed(t)
	v := testVerifier()
	histories := 60
	if testing.Short() {
		histories = 15
	}
	for h := range histories {
		r := newRepo(t, seed+uint64(h))
		tall, most := h%2 == 0, 1+h%12
		var state State
		for step := range 40 {
			before := r.root
			d := r.apply(step%3 == 0, r.randomChanges(most, tall)...)
			ev := d.event()
			got, err := v.Commit(ev, r.key, state)
			if err != nil {
				t.Fatalf("history %d step %d (%d ops, %d keys): %v", h, step, len(ev.Ops), len(r.values), err)
			}
			want := segmentlog.Signature | segmentlog.Inversion | segmentlog.Chain
			if step == 0 {
				want = segmentlog.Signature | segmentlog.Inversion | segmentlog.FirstSeen
			}
			if got.Verdict != want {
				t.Fatalf("history %d step %d: verdict %s, want %s", h, step, got.Verdict, want)
			}
			if root := v.tree.rootCID(); !bytes.Equal(root, before) {
				t.Fatalf("history %d step %d: undone root %x, was %x", h, step, root, before)
			}
			if !bytes.Equal(got.State.Data, r.root) || got.State.Rev != r.rev || !bytes.Equal(got.State.Commit, ev.Commit) {
				t.Fatalf("history %d step %d: state %v", h, step, got.State)
			}
			state = got.State
		}
	}
}
