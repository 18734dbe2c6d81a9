package fetch

import (
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
)

// seed is where a test's randomness comes from: FETCH_SEED, else a new one, which the
// test prints.
type seed uint64

func newSeed(t testing.TB) seed {
	t.Helper()
	n := rand.Uint64()
	if s := os.Getenv("FETCH_SEED"); s != "" {
		var err error
		if n, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("FETCH_SEED=%d", n)
	return seed(n)
}

func (s seed) rng(i int) *rand.Rand { return rand.New(rand.NewPCG(uint64(s), uint64(i))) }
