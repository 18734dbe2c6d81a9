package operator

import (
	"fmt"
	"math/rand/v2"
	"os"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

func seeded(t testing.TB) *rand.Rand {
	seed := rand.Uint64()
	if s := os.Getenv("CISTERN_TEST_SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("CISTERN_TEST_SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// randomDecision makes one that often undoes an earlier one. Some lines are longer
// than a page, so that a power cut can keep the end of one and lose its beginning.
func randomDecision(rng *rand.Rand) Decision {
	host, did := fmt.Sprintf("h%d.example", rng.IntN(6)), fmt.Sprintf("did:plc:a%d", rng.IntN(6))
	d := []Decision{
		{Action: Takedown, Subject: did}, {Action: ReverseTakedown, Subject: did},
		{Action: BlockHost, Subject: host}, {Action: UnblockHost, Subject: host},
		{Action: BanDomain, Subject: host}, {Action: UnbanDomain, Subject: host},
		{Action: LimitAccounts, Subject: host, Limit: num(1 + rng.Int64N(1000))}, {Action: LimitAccounts, Subject: host},
		{Action: LimitEvents, Subject: host, PerDay: num(1 + rng.Int64N(1000))},
		{Action: LimitNewHosts, Subject: Everyone, Limit: num(rng.Int64N(1000))},
	}[rng.IntN(10)]
	d.Note = strings.Repeat("n", rng.IntN(12_000))
	return d
}

func replayed(ds []Decision) *state {
	s := newState()
	for i := range ds {
		s.apply(&ds[i])
	}
	return s
}

// cutter clones the file system, as a power cut would leave it, before its n-th write
// operation.
type cutter struct {
	mem     *vfs.MemFS
	rng     *rand.Rand
	mu      sync.Mutex
	left    int
	crashed *vfs.MemFS
	acked   int // decisions acknowledged when the power was cut
	now     int
}

func (c *cutter) inject(op errorfs.Op) error {
	if op.Kind.ReadOrWrite() == errorfs.OpIsRead {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.left--; c.left == 0 {
		percent := []int{0, 50, 50, 100}[c.rng.IntN(4)]
		c.crashed = c.mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: c.rng})
		c.acked = c.now
	}
	return nil
}

func TestAnAcknowledgedDecisionSurvivesAPowerCut(t *testing.T) {
	rng := seeded(t)
	cuts, torn := 0, 0
	for range 250 {
		c := &cutter{mem: newFS(t), rng: rng, left: 1 + rng.IntN(70)}
		j := mustOpen(t, options(errorfs.Wrap(c.mem, errorfs.InjectorFunc(c.inject))))
		var decided []Decision
		for range 24 {
			d := randomDecision(rng)
			if !j.changes(&d) {
				continue
			}
			decided = append(decided, d)
			mustDecide(t, j, d)
			c.now = len(decided)
			if rng.IntN(8) == 0 {
				if err := j.Close(); err != nil {
					t.Fatal(err)
				}
				j = mustOpen(t, options(errorfs.Wrap(c.mem, errorfs.InjectorFunc(c.inject))))
			}
		}
		if c.crashed == nil {
			continue
		}
		cuts++
		lines, err := c.crashed.Stat(path)
		again := mustOpen(t, options(c.crashed))
		if after, _ := c.crashed.Stat(path); err == nil && after.Size() < lines.Size() {
			torn++
		}
		// The one that was being decided may be there or not.
		if !reflect.DeepEqual(again.state, replayed(decided[:c.acked])) &&
			(c.acked == len(decided) || !reflect.DeepEqual(again.state, replayed(decided[:c.acked+1]))) {
			t.Fatalf("acknowledged %d decisions; after the power cut:\n%+v\nwant\n%+v", c.acked, again.state, replayed(decided[:c.acked]))
		}
		mustDecide(t, again, Decision{Action: BlockHost, Subject: "later.example"})
	}
	t.Logf("%d power cuts, %d torn lines", cuts, torn)
	if cuts < 80 || torn == 0 {
		t.Errorf("%d power cuts and %d torn lines: too few to mean anything", cuts, torn)
	}
}
