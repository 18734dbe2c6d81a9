package ledger

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/cistern-archive/cistern/internal/frame"
	"github.com/cistern-archive/cistern/segmentlog"
)

func TestEveryHookIsInTheRowOfItsHost(t *testing.T) {
	c := newClock()
	l := open(t, stored(vfs.NewMem(), c))
	h := l.Host("one.example")
	conn := h.Connected(100)
	h.Received(10)
	conn.Fresh(105, c.now().Add(-90*time.Second).Format(time.RFC3339Nano))
	h.Accepted(frame.Commit, segmentlog.Signature|segmentlog.Discontinuous)
	h.Received(20)
	h.Refused(Dropped, "bad_signature", Frame{})
	h.Received(30)
	h.Refused(Ignored, "rev_old", Frame{})
	conn.Info("OutdatedCursor")
	conn.Info("Hello")
	conn.Fresh(200, "")
	h.Failed()
	h.Restarted()
	h.Closed("silent")
	h.Closed("")
	l.Host("two.example").Accepted(frame.Account, segmentlog.Authority)

	got := row(t, l, "one.example", noon)
	want := &Row{Host: "one.example", Hour: noon.Unix() / 3600, Counts: Counts{
		Received: 3, Bytes: 60, Kinds: [numKinds]uint64{1, 0, 0, 0}, Infos: 2, Errors: 1, Connections: 1, Restarts: 1,
		Resumed:  Gap{Count: 1, Cursor: 100, First: 105},
		Outdated: Gap{Count: 1, Cursor: 105, First: 200},
		Behind:   Behind{Known: true, Last: 90_000, Max: 90_000},
	}, Outcomes: []Reason{{Dropped, "bad_signature", 1}, {Ignored, "rev_old", 1}, {Closed, "silent", 1}}}
	want.Flags[0], want.Flags[17] = 1, 1
	same(t, got, want)
	if FlagName(17) != segmentlog.Discontinuous.String() {
		t.Error("bit 17 is another flag")
	}
	two := row(t, l, "two.example", noon)
	if two.Accepted() != 1 || two.Kinds[3] != 1 || two.Received != 0 {
		t.Errorf("%+v", two)
	}
	if got.Of(Dropped) != 1 || got.Of(Ignored) != 1 || got.Of(Closed) != 1 {
		t.Errorf("%+v", got)
	}
}

func TestOnlyAJumpAfterTheCursorIsNoted(t *testing.T) {
	l := open(t, Options{Now: newClock().now})
	h := l.Host("a")
	for _, conn := range []struct{ cursor, first uint64 }{{0, 500}, {500, 501}, {501, 502}} {
		h.Connected(conn.cursor).Fresh(conn.first, "")
	}
	if r := row(t, l, "a", noon); r.Resumed.Count != 0 || r.Connections != 3 {
		t.Errorf("%+v", r)
	}
	h.Connected(502).Fresh(504, "")
	same(t, row(t, l, "a", noon).Resumed, Gap{1, 502, 504})
}

func TestTimeBehindIsNeverBelowZeroAndKeepsItsLargest(t *testing.T) {
	c := newClock()
	l := open(t, Options{Now: c.now})
	conn := l.Host("a").Connected(0)
	seq := uint64(0)
	say := func(written string) {
		seq++
		c.pass(t, l, time.Second)
		conn.Fresh(seq, written)
	}
	say(c.now().Add(time.Hour).Format(time.RFC3339))
	same(t, row(t, l, "a", noon).Behind, Behind{Known: true})
	say(c.now().Add(-4 * time.Second).Format(time.RFC3339)) // a second older when it comes
	say("not a time")
	say(c.now().Add(-time.Second).Format("2006-01-02T15:04:05.000Z"))
	same(t, row(t, l, "a", noon).Behind, Behind{Known: true, Last: 2000, Max: 5000})
	conn.Fresh(seq+1, "2000-01-01T00:00:00Z") // of the same second: not measured
	same(t, row(t, l, "a", noon).Behind, Behind{Known: true, Last: 2000, Max: 5000})
}

func TestHoursRollOver(t *testing.T) {
	c := newClock()
	l := open(t, stored(vfs.NewMem(), c))
	h, idle := l.Host("a"), l.Host("idle")
	for i := range 5 {
		for range i + 1 {
			h.Received(1)
		}
		if i == 2 {
			idle.Received(1)
		}
		c.pass(t, l, time.Hour)
	}
	all := rows(t, l)
	if len(all) != 6 {
		t.Errorf("%d rows, want 6: a host has none of an hour in which nothing was counted", len(all))
	}
	for i := range 5 {
		if got := row(t, l, "a", noon.Add(time.Duration(i)*time.Hour)).Received; got != uint64(i+1) {
			t.Errorf("hour %d: %d received", i, got)
		}
	}
	if h.row != nil || len(h.past) > 0 || idle.row != nil || len(l.waiting.rows) > 0 {
		t.Error("rows that are stored are still in memory")
	}
}

func TestARestartGoesOnWithTheHour(t *testing.T) {
	c, fs := newClock(), vfs.NewMem()
	for i := range 4 {
		l := open(t, stored(fs, c))
		h := l.Host("a")
		conn := h.Connected(uint64(10 * i))
		conn.Fresh(uint64(10*i+5), c.now().Add(-time.Duration(4-i)*time.Second).Format(time.RFC3339))
		h.Received(10)
		h.Accepted(frame.Sync, segmentlog.Repeat)
		h.Refused(Dropped, fmt.Sprintf("reason_%d", i%2), Frame{})
		h.Refused(Ignored, "duplicate", Frame{})
		if i%2 == 1 { // once more when the row is stored
			c.pass(t, l, time.Minute)
			h.Received(5)
		}
		if i == 2 {
			c.pass(t, l, time.Second) // nothing is due
		}
		got := row(t, l, "a", noon)
		if got.Connections != uint64(i+1) {
			t.Errorf("before the stop: %+v", got)
		}
		closeLedger(t, l)
	}
	l := open(t, stored(fs, c))
	want := &Row{Host: "a", Hour: noon.Unix() / 3600, Counts: Counts{
		Received: 6, Bytes: 50, Kinds: [numKinds]uint64{0, 4, 0, 0}, Connections: 4,
		Resumed: Gap{Count: 3, Cursor: 30, First: 35}, Behind: Behind{Known: true, Last: 1000, Max: 4000},
	}, Outcomes: []Reason{{Dropped, "reason_0", 2}, {Dropped, "reason_1", 2}, {Ignored, "duplicate", 4}}}
	want.Flags[15] = 4
	same(t, row(t, l, "a", noon), want)
}

func TestAClockThatGoesBackCountsInTheEarlierHourAgain(t *testing.T) {
	c, fs := newClock(), vfs.NewMem()
	l := open(t, stored(fs, c))
	h := l.Host("a")
	want := map[int]uint64{}
	rng := seeded(t)
	for range 200 {
		hour := rng.IntN(3)
		c.set(noon.Add(time.Duration(hour) * time.Hour))
		l.setClock()
		h.Received(1)
		want[hour]++
		switch rng.IntN(20) {
		case 0:
			l.tick(t.Context())
		case 1:
			c.pass(t, l, time.Minute)
		case 2:
			closeLedger(t, l)
			l = open(t, stored(fs, c))
			h = l.Host("a")
		}
	}
	for hour, n := range want {
		if got := row(t, l, "a", noon.Add(time.Duration(hour)*time.Hour)).Received; got != n {
			t.Errorf("hour %d: %d received, want %d", hour, got, n)
		}
	}
}

func TestHoursBeyondTheRetentionAreDeleted(t *testing.T) {
	c := newClock()
	o := stored(vfs.NewMem(), c)
	o.Retention = 5 * time.Hour
	l := open(t, o)
	for i := range 20 {
		l.Host("a").Received(1)
		c.pass(t, l, time.Hour)
		want := min(i+1, 5)
		if got := len(rows(t, l)); got != want {
			t.Fatalf("%d rows after %d hours, want %d", got, i+1, want)
		}
	}
	closeLedger(t, l)
	o.Retention = -1
	if got := len(rows(t, open(t, o))); got != 5 {
		t.Errorf("%d rows, want 5", got)
	}
}

func TestANilLedgerCountsNothing(t *testing.T) {
	var l *Ledger
	h := l.Host("a")
	h.Received(1)
	h.Accepted(frame.Commit, 0)
	h.Refused(Dropped, "x", Frame{})
	h.Closed("x")
	h.Restarted()
	h.Failed()
	conn := h.Connected(1)
	conn.Info("OutdatedCursor")
	conn.Fresh(2, "")
}

func TestTooManyReasonsAreOther(t *testing.T) {
	l := open(t, Options{Now: newClock().now})
	h := l.Host("a")
	for i := range 300 {
		h.Refused(Ignored, fmt.Sprintf("reason_%d", i), Frame{})
	}
	h.Refused(Dropped, "one_more", Frame{Raw: []byte("x")})
	h.Refused(Dropped, string(make([]byte, maxReason+1)), Frame{})
	h.Closed("")
	r := row(t, l, "a", noon)
	if r.Of(Ignored) != 300 || r.Of(Dropped) != 2 {
		t.Errorf("%d ignored, %d dropped", r.Of(Ignored), r.Of(Dropped))
	}
	if n := len(r.Outcomes); n > maxReasons {
		t.Errorf("%d reasons", n)
	}
	if r.Outcomes[0] != (Reason{Dropped, Other, 2}) {
		t.Errorf("%+v", r.Outcomes[0])
	}
	if k := l.Quarantine().List(""); len(k) != 1 || k[0].Reason != Other {
		t.Errorf("%+v", k)
	}
}

func TestTooManyHostsAreOther(t *testing.T) {
	l := open(t, Options{Now: newClock().now})
	for i := range maxHosts + 10 {
		l.Host(fmt.Sprint(i))
	}
	l.Host("late").Received(1)
	l.Host("later").Received(1)
	if got := row(t, l, Other, noon).Received; got != 2 || len(l.all()) > maxHosts+1 {
		t.Errorf("%d received of other, %d hosts", got, len(l.all()))
	}
	if l.Host("5") == l.Host("late") {
		t.Error("a known host lost its account")
	}
}

// Hooks, flushes, hours and questions at once: nothing is lost and nothing counts twice.
func TestCountingAndStoringAtOnceLosesNothing(t *testing.T) {
	c, fs := newClock(), vfs.NewMem()
	o := stored(fs, c)
	o.FlushEvery = time.Second
	l := open(t, o)
	const hosts = 3
	seed := seeded(t).Uint64()
	var work sync.WaitGroup
	var sent, done atomic.Uint64
	for i := range hosts {
		for j := range 2 { // two goroutines a host, as ingest has
			rng := rand.New(rand.NewPCG(seed, uint64(2*i+j)))
			work.Go(func() {
				h := l.Host(hostName(i))
				for n := 0; n < 1000 || done.Load() == 0; n++ {
					runtime.Gosched() // the others need the processor too
					sent.Add(1)
					h.Received(1)
					if rng.IntN(3) == 0 {
						h.Refused(Dropped, "bad", Frame{Raw: []byte("raw")})
					} else {
						h.Accepted(frame.Commit, segmentlog.Signature)
					}
				}
			})
		}
	}
	work.Go(func() {
		for range 10 {
			c.pass(t, l, 20*time.Minute)
		}
		done.Store(1)
	})
	work.Go(func() {
		for done.Load() == 0 {
			var sum uint64
			for _, r := range rows(t, l) {
				sum += r.Received
			}
			if sum > sent.Load() {
				t.Errorf("%d received, more than there were", sum)
				return
			}
		}
	})
	work.Wait()
	closeLedger(t, l)
	var received, decided uint64
	for _, r := range rows(t, open(t, stored(fs, c))) {
		received += r.Received
		decided += r.Accepted() + r.Of(Dropped)
	}
	if received != sent.Load() || decided != received {
		t.Errorf("%d received, %d decided, want %d", received, decided, sent.Load())
	}
}
