package relay

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	segments "github.com/cistern-archive/cistern/internal/archive"
	"github.com/cistern-archive/cistern/segmentlog/bucket"
	"github.com/cistern-archive/cistern/segmentlog/ship"
)

// shipped waits until the archive has every sealed segment.
func (s *stage) shipped() {
	s.t.Helper()
	until(s.t, "every segment to be shipped", func() bool {
		if s.Log().Closed() > 0 {
			return false
		}
		files := s.Log().Sealed(0)
		return len(files) > 0 && s.archive.shipper.Through() == files[len(files)-1].Name.LastSeq
	})
}

// scaled returns n, or as many times that as CISTERN_LONG says (make long-archive).
func scaled(t *testing.T, n int) int {
	t.Helper()
	long := os.Getenv("CISTERN_LONG")
	if long == "" {
		return n
	}
	times, err := strconv.Atoi(long)
	if err != nil {
		t.Fatal(err)
	}
	return n * times
}

// fault is a way in which a store fails, and what shows that it did.
type fault struct {
	name  string
	begin func() (heal func())
	fired func() bool
}

// faults are those of a store; failures counts the tries to ship that failed.
func (b *badStore) faults(failures func() float64, lag func() float64) []fault {
	before, refused := 0.0, int64(0)
	failed := func() bool { return failures() > before }
	answering := func(status int32) func() func() {
		return func() func() {
			before, refused = failures(), b.refused.Load()
			b.status.Store(status)
			return func() { b.status.Store(0) }
		}
	}
	toxic := func(kind string, attributes map[string]any) func() func() {
		return func() func() { before = failures(); return b.toxic(kind, attributes) }
	}
	wasRefused := func() bool { return failed() && b.refused.Load() > refused }
	all := []fault{
		{"killed", func() func() { before = failures(); b.Kill(); return b.Restart }, failed},
		{"stopped", func() func() { b.Pause(); return b.Resume }, func() bool { return lag() > 0 }},
		{"slow", toxic("bandwidth", map[string]any{"rate": 20}), func() bool { return lag() > 0 }},
		{"cut", toxic("limit_data", map[string]any{"bytes": 10_000}), failed},
		{"reset", toxic("reset_peer", map[string]any{"timeout": 5}), failed},
		{"500", answering(http.StatusInternalServerError), wasRefused},
		{"503", answering(http.StatusServiceUnavailable), wasRefused},
		{"507", answering(http.StatusInsufficientStorage), wasRefused},
	}
	if b.mounted {
		all = append(all, fault{"full", func() func() { before = failures(); return b.fill() }, failed})
	}
	return all
}

func TestABucketHoldsTheLogHoweverItsServerFails(t *testing.T) {
	server := startBadStore(t)
	s := newStage(t)
	s.cfg.Archive.URL, s.cfg.Archive.NewStream = server.archive(), true
	s.cfg.SegmentBytes = min(int64(scaled(t, int(s.cfg.SegmentBytes))), 4<<20)
	s.start()
	s.steps(scaled(t, 200))
	s.caughtUp()
	for _, f := range server.faults(
		func() float64 { return metric(t, s, "cistern_ship_failures_total") },
		func() float64 { return metric(t, s, "cistern_ship_lag_bytes") },
	) {
		began := time.Now()
		heal := f.begin()
		s.steps(scaled(t, 120)) // ingest goes on
		s.caughtUp()
		until(t, f.name+" to be felt", func() bool { s.steps(1); return f.fired() }) // what came first may have got through: MinIO looks at its disk once a second
		felt, through := time.Since(began), s.archive.shipper.Through()
		heal()
		until(t, "shipping to go on", func() bool { s.steps(1); return s.archive.shipper.Through() > through })
		t.Logf("%s: felt after %s, over after %s, %d events", f.name, felt.Round(time.Millisecond), time.Since(began).Round(time.Millisecond), s.net.Len())
	}
	s.caughtUp()
	s.shipped()
	b, err := bucket.Open(t.Context(), server.URL("log"))
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	inventory, err := ship.ReadInventory(t.Context(), b, s.archive.held.Stream())
	if err != nil {
		t.Fatal(err)
	}
	files := s.Log().Sealed(0)
	if len(files) < 5 || len(files) != len(inventory.Entries) {
		t.Fatalf("%d segments, %d in the archive", len(files), len(inventory.Entries))
	}
	for i, f := range files {
		local, err := os.ReadFile(f.Path)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(local, object(t, b, inventory.Entries[i].Key())) {
			t.Errorf("%s is not what is in the archive", f.Name)
		}
		if err := s.Log().Evict(f.Name); err != nil { // from here on it is read from the bucket
			t.Error(err)
		}
	}
	s.sameTruth()
	for _, place := range []string{server.URL("log"), "http://" + s.Addr(), "http://" + s.Addr() + "/archive/"} {
		src, err := segments.Find(t.Context(), nil, []string{place})
		if err != nil {
			t.Fatal(err)
		}
		report, err := segments.Verify(t.Context(), src, segments.VerifyOptions{})
		if err != nil || !report.OK() || report.Files != len(files) || report.LastSeq != files[len(files)-1].Name.LastSeq {
			t.Errorf("%s: %+v, %v", place, report, err)
		}
	}
	http.DefaultClient.CloseIdleConnections()
	if cached, read := metric(t, s, "cistern_archive_cache_bytes"), metric(t, s, "cistern_archive_read_bytes_total"); cached == 0 || read < cached {
		t.Errorf("%g bytes were read from the bucket, %g are in the cache", read, cached)
	}
	s.stop()
}

func object(t *testing.T, b bucket.Bucket, key string) []byte {
	t.Helper()
	r, err := b.Read(t.Context(), key, 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	content, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// metric sums a metric of the relay over its labels.
func metric(t *testing.T, s *stage, name string) (sum float64) {
	t.Helper()
	families, err := s.reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			for _, m := range f.GetMetric() {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return sum
}

func dialAt(t *testing.T, s *stage, cursor uint64) *websocket.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	c, resp, err := websocket.DefaultDialer.DialContext(ctx, "ws://"+s.Addr()+"/xrpc/com.atproto.sync.subscribeRepos?cursor="+strconv.FormatUint(cursor, 10), nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close() // the socket is c's
	return c
}

func TestDecisionsOutliveTheDataDirectory(t *testing.T) {
	s := newStage(t)
	s.cfg.AdminPasswords = []string{"secret"}
	s.cfg.Archive.URL, s.cfg.Archive.NewStream = "file://"+t.TempDir(), true
	s.cfg.Archive.TakeOver, s.cfg.Archive.Watch = true, time.Millisecond
	a := s.net.Host(0).Account(0)
	s.start()
	s.steps(200)
	s.caughtUp()
	if code := s.admin("repo/takeDown", `{"did":"`+a.DID+`"}`); code != http.StatusOK {
		t.Fatalf("HTTP %d", code)
	}
	until(t, "the decision to be in the archive", func() bool {
		b, err := ship.ReadMirrored(t.Context(), s.archive.bucket, ship.OperatorKey)
		return err == nil && strings.Contains(string(b), a.DID)
	})
	s.shipped()
	s.stop()
	if err := os.RemoveAll(s.cfg.DataDir); err != nil {
		t.Fatal(err)
	}
	s.start()
	defer s.stop()
	until(t, "the decision to be in force", func() bool { return s.effective(a.DID) == takenDown })
	if got := s.Takedowns(); len(got) != 1 || got[0] != a.DID {
		t.Errorf("taken down: %v", got)
	}
}

func TestARestoredRelayTakesItsIndexFromACheckpoint(t *testing.T) {
	s := newStage(t)
	s.cfg.SegmentAge = 20 * time.Millisecond
	s.cfg.Archive.URL, s.cfg.Archive.NewStream = "file://"+t.TempDir(), true
	s.cfg.Archive.TakeOver, s.cfg.Archive.Watch = true, time.Millisecond
	seen := map[uint64][]byte{}
	s.start()
	s.steps(300)
	s.caughtUp()
	s.everyEventOnce(seen)
	var seq uint64
	until(t, "the index to have applied something", func() bool {
		var err error
		if seq, err = s.checkpoint(t.Context()); err != nil { // waits until it is shipped
			t.Fatal(err)
		}
		return seq > 0
	})
	s.steps(100)
	s.caughtUp()
	s.shipped()
	s.stop()
	if err := os.RemoveAll(s.cfg.DataDir); err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	var err error
	if s.Relay, err = Start(t.Context(), s.cfg, slog.New(slog.NewTextHandler(&said, nil))); err != nil {
		t.Fatal(err)
	}
	s.steps(100)
	s.caughtUp()
	s.everyEventOnce(seen)
	s.stop()
	if want := fmt.Sprintf(`msg="the index was restored from a checkpoint of the archive" seq=%d`, seq); !strings.Contains(said.String(), want) {
		t.Errorf("it was not restored: %s", said.String())
	}
}
