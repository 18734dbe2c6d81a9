package ledger

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/cistern-archive/cistern/internal/frame"
	"github.com/cistern-archive/cistern/segmentlog"
)

const usual = segmentlog.Signature | segmentlog.Inversion | segmentlog.Authority | segmentlog.Chain

// event is what an accepted event costs.
func event(h *Host, conn *Connection, seq uint64, written string) {
	h.Received(4000)
	conn.Fresh(seq, written)
	h.Accepted(frame.Commit, usual)
}

func TestCountingAllocatesNothing(t *testing.T) {
	c := newClock()
	l := open(t, Options{Now: c.now})
	h := l.Host("a")
	conn := h.Connected(0)
	written := c.now().Format(time.RFC3339Nano)
	raw := make([]byte, 1000)
	seq := uint64(0)
	all := func() {
		seq++
		event(h, conn, seq, written)
		h.Refused(Dropped, "bad_signature", Frame{DID: "did:plc:x", Seq: seq, Raw: raw})
		h.Refused(Ignored, "rev_old", Frame{Raw: raw})
		conn.Info("OutdatedCursor")
		h.Closed("silent")
	}
	all() // the first of their kind in the hour
	if n := testing.AllocsPerRun(1000, all); n != 0 {
		t.Errorf("%v allocations an event", n)
	}
}

// BenchmarkAccepted is all that counting adds to an accepted event.
func BenchmarkAccepted(b *testing.B) {
	l := open(b, Options{})
	h := l.Host("a")
	conn := h.Connected(0)
	written := time.Now().UTC().Format(time.RFC3339Nano)
	b.ReportAllocs()
	seq := uint64(0)
	for b.Loop() {
		seq++
		event(h, conn, seq, written)
	}
}

// BenchmarkDropped is what counting adds to a dropped frame, in a flood of them.
func BenchmarkDropped(b *testing.B) {
	l := open(b, Options{})
	h := l.Host("a")
	f := Frame{DID: "did:plc:x", Seq: 1, Raw: make([]byte, 4000)}
	b.ReportAllocs()
	for b.Loop() {
		h.Received(4000)
		h.Refused(Dropped, "bad_signature", f)
	}
}

// The network of BenchmarkDay: all hosts are connected, and say something each hour.
const dayHosts = 3000

// hourOfHost is a host's usual hour: most of it accepted, some of it ignored, and a
// twentieth of the hosts with drops.
func hourOfHost(rng *rand.Rand, h *Host, i int) {
	seq := rng.Uint64N(1 << 40)
	conn := h.Connected(seq)
	for range 1 + rng.IntN(60) {
		seq += 1 + rng.Uint64N(5)
		h.Received(500 + rng.IntN(10_000))
		conn.Fresh(seq, "2026-01-02T12:00:00.000Z")
		h.Accepted(frame.Commit, usual)
	}
	h.Accepted(frame.Identity, segmentlog.Authority)
	h.Accepted(frame.Account, segmentlog.Authority|segmentlog.Reencoded)
	h.Refused(Ignored, "duplicate", Frame{})
	if i%20 == 0 {
		for range 5 {
			h.Refused(Dropped, fmt.Sprintf("reason_%d", rng.IntN(40)), Frame{Raw: make([]byte, 4000)})
		}
	}
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// BenchmarkDay is a day of 3,000 hosts: what it takes in memory and on disk. An hour
// is written at once and then once more when it is over.
func BenchmarkDay(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 1))
	for b.Loop() {
		dir := filepath.Join(b.TempDir(), "ledger")
		c := newClock()
		o := Options{Dir: dir, Now: c.now, FlushEvery: time.Hour / 2, QuarantineBytes: -1}
		l := open(b, o)
		before := heap()
		hosts := make([]*Host, dayHosts)
		for i := range hosts {
			hosts[i] = l.Host(hostName(i))
		}
		idle := heap()
		var busy uint64
		var flush time.Duration
		for hour := range 24 {
			for i, h := range hosts {
				hourOfHost(rng, h, i)
			}
			if hour == 0 {
				busy = heap()
			}
			for range 2 {
				began := time.Now()
				c.pass(b, l, time.Hour/2)
				flush = max(flush, time.Since(began))
			}
		}
		began := time.Now()
		page, err := l.Query(b.Context(), Query{Host: hostName(7), Limit: MaxLimit})
		if err != nil || len(page.Rows) != 24 {
			b.Fatal(len(page.Rows), err)
		}
		one := time.Since(began)
		began = time.Now()
		if page, err = l.Query(b.Context(), Query{Limit: MaxLimit}); err != nil || len(page.Rows) != MaxLimit {
			b.Fatal(len(page.Rows), err)
		}
		many := time.Since(began)
		closeLedger(b, l)
		b.ReportMetric(float64(idle-before)/dayHosts, "B/idle-host")
		b.ReportMetric(float64(busy-idle)/dayHosts, "B/busy-host")
		b.ReportMetric(float64(size(b, dir))/(24*dayHosts), "B/row-on-disk")
		b.ReportMetric(float64(size(b, dir)), "B-on-disk")
		b.ReportMetric(float64(flush.Milliseconds()), "ms/flush-max")
		b.ReportMetric(float64(one.Microseconds()), "µs/query-host-day")
		b.ReportMetric(float64(many.Microseconds()), "µs/query-1000-rows")
	}
}

func size(t testing.TB, dir string) (bytes int64) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		bytes += info.Size()
	}
	return bytes
}

func TestAHostOfWhichNothingIsCountedTakesLittleMemory(t *testing.T) {
	l := open(t, Options{Now: newClock().now})
	names := make([]string, 10_000)
	for i := range names {
		names[i] = hostName(i)
	}
	before := heap()
	for _, name := range names {
		l.Host(name)
	}
	if each := (heap() - before) / uint64(len(names)); each > 400 {
		t.Errorf("%d bytes a host", each)
	}
	runtime.KeepAlive(l)
}
