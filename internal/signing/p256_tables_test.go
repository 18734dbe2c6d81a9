package signing

import (
	"crypto/sha256"
	"math/big"
	"runtime"
	"sync"
	"testing"
	"unsafe"
)

// held counts the tables of a cache.
func held(c *tableCache) (n int) {
	for i := range c.sets {
		for j := range c.sets[i].slots {
			if c.sets[i].slots[j].Load() != nil {
				n++
			}
		}
	}
	return n
}

func TestAKeyThatComesOnceMakesNoTable(t *testing.T) {
	c := newTableCache()
	for i := range int64(5000) {
		point := times(t, big.NewInt(i+1))
		if c.table(&point) != nil {
			t.Fatal("made a table at the first use")
		}
	}
	if n := held(c); n != 0 {
		t.Errorf("%d tables", n)
	}
	point := times(t, big.NewInt(1<<20))
	if c.table(&point) != nil || c.table(&point) == nil {
		t.Error("the second use in a row makes no table")
	}
	again, kept := c.table(&point), c.table(&point)
	if again != kept || held(c) != 1 {
		t.Error("the table was made again")
	}
}

// Tables × their size stay inside the budget, whatever comes.
func TestAFloodOfKeysStaysInsideTheBudget(t *testing.T) {
	before := heap()
	c := newTableCache()
	made := 0
	for i := range int64(6000) {
		point := times(t, big.NewInt(i+1))
		c.table(&point)
		if table := c.table(&point); table == nil || table.point != point {
			t.Fatal("a key that came back has no table of its own")
		}
		made++
	}
	took, n := heap()-before, held(c)
	if made <= tableSets*tableWays {
		t.Fatalf("%d tables made: the cache was not filled", made)
	}
	t.Logf("%d of %d slots, %d bytes", n, tableSets*tableWays, took)
	if n < tableSets*tableWays*9/10 {
		t.Errorf("only %d of %d slots are used", n, tableSets*tableWays)
	}
	if took > TableBudget*102/100 { // the heap's own noise
		t.Errorf("%d bytes, the budget is %d", took, TableBudget)
	}
	if size := int(unsafe.Sizeof(*c)) + n*combTableBytes; size > TableBudget+64 {
		t.Errorf("counted %d bytes, the budget is %d", size, TableBudget)
	}
	runtime.KeepAlive(c)
}

// A round of keys several times as long as the cache would otherwise build a table at
// each use and never use one.
func TestARoundLongerThanTheCacheBuildsLittle(t *testing.T) {
	c := newTableCache()
	const keys, rounds = 5 * tableSets * tableWays, 3
	points := make([][uncompressedSize]byte, keys)
	for i := range points {
		points[i] = times(t, big.NewInt(int64(i+1)))
	}
	got := 0
	for range rounds {
		for i := range points {
			if c.table(&points[i]) != nil {
				got++
			}
		}
	}
	t.Logf("%d tables built or found in %d uses", got, rounds*keys)
	if got > rounds*keys/10 {
		t.Errorf("%d of %d uses built or found a table", got, rounds*keys)
	}
}

// A key in steady use keeps its table while others come and go.
func TestAKeyInUseKeepsItsTable(t *testing.T) {
	c := newTableCache()
	steady := times(t, big.NewInt(1<<30))
	c.table(&steady)
	first := c.table(&steady)
	lost := 0
	for i := range int64(6000) {
		point := times(t, big.NewInt(i+1))
		c.table(&point)
		c.table(&point)
		if now := c.table(&steady); now != first {
			lost, first = lost+1, now
		}
	}
	if lost > 1 { // a set of four in which all were used lately gives up its first
		t.Errorf("lost its table %d times", lost)
	}
}

func TestTablesAreSafeForConcurrentUse(t *testing.T) {
	c := newTableCache()
	digest := sha256.Sum256([]byte("message"))
	const keys = 64
	points, sigs := make([][uncompressedSize]byte, keys), make([][]byte, keys)
	for i := range keys {
		d := big.NewInt(int64(i + 1))
		points[i], sigs[i] = times(t, d), sign(t, d, big.NewInt(77), digest[:])
	}
	// One set for all, so that tables are displaced while they are in use.
	var wg sync.WaitGroup
	var set tableSet
	for g := range 4 {
		wg.Go(func() {
			for i := range 4 * keys {
				k := (i*7 + g) % keys
				if !verifyP256(c, &points[k], digest[:], sigs[k]) {
					t.Errorf("key %d does not verify", k)
				}
				if table := c.table(&points[k]); table != nil {
					set.keep(table)
				}
			}
		})
	}
	wg.Wait()
	if n := held(c); n < keys*9/10 || n > keys+4*keys {
		t.Errorf("%d tables of %d keys", n, keys)
	}
}

func TestATableTakesWhatItIsCountedAs(t *testing.T) {
	const n = 2000
	point := times(t, big.NewInt(3))
	kept := make([]*combTable, n)
	before := heap()
	for i := range kept {
		table, err := newCombTable(&point)
		if err != nil {
			t.Fatal(err)
		}
		kept[i] = table
	}
	took := (heap() - before) / n
	t.Logf("%d bytes of %d, counted as %d", took, unsafe.Sizeof(combTable{}), combTableBytes)
	if took > combTableBytes*102/100 || took < combTableBytes*8/10 {
		t.Errorf("a table takes %d bytes and is counted as %d", took, combTableBytes)
	}
	runtime.KeepAlive(kept)
}
