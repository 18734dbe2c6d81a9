package ledger

import (
	"bytes"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"reflect"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"go.uber.org/goleak"

	"github.com/cistern-archive/cistern/testing/await"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what must happen before it fails.
const patience = 30 * time.Second

// seeded returns a source of randomness whose seed is printed, so that a failure can
// be run again with CISTERN_SEED.
func seeded(t testing.TB) *rand.Rand {
	seed := rand.Uint64()
	if v := os.Getenv("CISTERN_SEED"); v != "" {
		n, err := strconv.ParseUint(v, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		seed = n
	}
	t.Logf("CISTERN_SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// clock is one that tests move.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

// noon is the hour that tests begin in.
var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

func newClock() *clock { return &clock{t: noon.Add(10 * time.Minute)} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) set(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = t
}

// pass moves the ledger's clock on. What is due is done.
func (c *clock) pass(t testing.TB, l *Ledger, d time.Duration) {
	c.set(c.now().Add(d))
	l.tick(t.Context())
}

// lines is a log that tests read.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func (l *lines) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelInfo}))
}

const testDir = "ledger"

// stored returns options of a ledger in a file system of memory.
func stored(fs vfs.FS, c *clock) Options {
	return Options{Dir: testDir, FS: fs, Now: c.now}
}

func open(t testing.TB, o Options) *Ledger {
	t.Helper()
	l := Open(o)
	t.Cleanup(func() { _ = l.Close() }) // most tests close it themselves
	return l
}

func closeLedger(t testing.TB, l *Ledger) {
	t.Helper()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

// rows returns everything that the ledger has, by host and hour.
func rows(t testing.TB, l *Ledger) map[string]*Row {
	t.Helper()
	all := make(map[string]*Row)
	q := Query{Limit: 7}
	for {
		p, err := l.Query(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range p.Rows {
			key := rowName(r.Host, r.Start())
			if all[key] != nil {
				t.Fatalf("%s is there twice", key)
			}
			all[key] = r
		}
		if p.Cursor == "" {
			return all
		}
		q.Cursor = p.Cursor
	}
}

func rowName(host string, hour time.Time) string { return host + " " + hour.Format(time.RFC3339) }

// row returns one, an empty one when there is none.
func row(t testing.TB, l *Ledger, host string, hour time.Time) *Row {
	t.Helper()
	if r := rows(t, l)[rowName(host, hour)]; r != nil {
		return r
	}
	return new(Row)
}

func same(t testing.TB, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

// until waits for a condition of what runs beside the test.
func until(t testing.TB, what string, cond func() bool) {
	t.Helper()
	await.Until(t, patience, what, cond)
}

func hostName(i int) string { return fmt.Sprintf("pds-%04d.example.com", i) }
