package pull

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/cistern-archive/cistern/internal/downloads"
	"github.com/cistern-archive/cistern/segmentlog"
	"github.com/cistern-archive/cistern/segmentlog/bucket"
	"github.com/cistern-archive/cistern/segmentlog/ship"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// origin is an archive in a folder, filled by the real writer, and a server of it.
type origin struct {
	t       testing.TB
	dir     string
	log     *segmentlog.Log
	shipper *ship.Shipper
	bucket  *bucket.Dir
	server  *httptest.Server
	asked   atomic.Int64                                      // for segments
	fault   func(w http.ResponseWriter, r *http.Request) bool // says whether it answered
}

// newOrigin makes an archive of n events in small segments.
func newOrigin(t testing.TB, n int) *origin {
	t.Helper()
	return newOriginOf(t, n, 300, 20<<10)
}

// newOriginOf makes an archive of n events of size bytes, which do not compress, in
// segments of hot bytes.
func newOriginOf(t testing.TB, n, size int, hot int64) *origin {
	t.Helper()
	data := t.TempDir()
	o := &origin{t: t, dir: filepath.Join(data, "archive")}
	var err error
	if o.bucket, err = bucket.OpenDir(o.dir); err != nil {
		t.Fatal(err)
	}
	quiet := slog.New(slog.DiscardHandler)
	a, err := ship.Attach(t.Context(), ship.Options{Bucket: o.bucket, Dir: data, NewStream: true, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	committed := make(chan struct{}, 1)
	o.log, err = segmentlog.Open(segmentlog.Options{
		Dir: data, Logger: quiet, Stream: a.Stream(), MaxHotBytes: hot, Seal: &segmentlog.SegmentOptions{BlockSize: int(min(hot/4, 1<<20))},
		OnCommit: func(segmentlog.Batch) { committed <- struct{}{} },
	})
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.NewChaCha8([32]byte{3})
	for i := range n {
		body := make([]byte, size)
		_, _ = rng.Read(body) // never fails
		if _, err := o.log.Append(t.Context(), &segmentlog.Entry{
			DID: "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa", Host: "pds.example", HostEpoch: 1, HostSeq: uint64(i), Head: []byte("frame "), Tail: body,
		}); err != nil {
			t.Fatal(err)
		}
		<-committed
	}
	ctx, cancel := context.WithCancel(t.Context())
	o.shipper = ship.NewShipper(ship.ShipperOptions{Archive: a, Log: o.log, Logger: quiet})
	done := make(chan struct{})
	go func() { defer close(done); _ = o.shipper.Run(ctx) }() // it ends with ctx
	for o.log.Closed() > 0 || len(o.log.Sealed(o.shipper.Through())) > 0 {
		o.shipper.Wake()
		time.Sleep(time.Millisecond)
	}
	cancel()
	<-done
	o.serve()
	t.Cleanup(func() {
		o.server.Close()
		if err := errors.Join(o.log.Close(), a.Close(), o.bucket.Close()); err != nil {
			t.Error(err)
		}
	})
	return o
}

func (o *origin) serve() {
	h := downloads.NewHandler(downloads.Options{
		Stream: o.log.Stream, Catalog: o.shipper.Catalog, Find: o.shipper.Find, Logger: slog.New(slog.DiscardHandler),
		Open: func(_ context.Context, e ship.Entry) (downloads.File, error) { return o.bucket.Open(e.Key()) },
		Suppressed: func(_ context.Context, f func(did, status string) error) error {
			return f("did:plc:gone", "deleted")
		},
	})
	o.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/archive/segments/") {
			o.asked.Add(1)
			if o.fault != nil && o.fault(w, r) {
				return
			}
		}
		h.ServeHTTP(w, r)
	}))
}

// pull runs Pull and fails on an error.
func (o *origin) pull(out string, change func(*Options)) *Report {
	o.t.Helper()
	r, err := o.try(o.t.Context(), out, change)
	if err != nil {
		o.t.Fatal(err)
	}
	return r
}

func (o *origin) try(ctx context.Context, out string, change func(*Options)) (*Report, error) {
	src, err := Open(ctx, o.server.URL)
	if err != nil {
		return nil, err
	}
	defer src.Close()
	opts := Options{From: src, Out: out, Wait: time.Millisecond}
	if change != nil {
		change(&opts)
	}
	return Pull(ctx, opts)
}

// same wants the folder to hold every segment of the archive, byte for byte, and nothing
// half.
func (o *origin) same(out string, entries []ship.Entry) {
	o.t.Helper()
	want := map[string]bool{}
	for _, e := range entries {
		want[e.Key()] = true
		a, err := os.ReadFile(filepath.Join(o.dir, e.Key()))
		if err != nil {
			o.t.Fatal(err)
		}
		b, err := os.ReadFile(filepath.Join(out, e.Key()))
		if err != nil || !bytes.Equal(a, b) {
			o.t.Errorf("%s is not what it should be: %v", e.Key(), err)
		}
	}
	err := filepath.WalkDir(filepath.Join(out, "segments"), func(path string, d fs.DirEntry, err error) error {
		if rel, _ := filepath.Rel(out, path); err == nil && !d.IsDir() && !want[filepath.ToSlash(rel)] {
			o.t.Errorf("%s was left", rel)
		}
		return err
	})
	if err != nil {
		o.t.Error(err)
	}
}

func TestAnArchiveThatWasPulledIsWholeAndASecondRunBringsNothing(t *testing.T) {
	o := newOrigin(t, 600)
	out := t.TempDir()
	all := o.shipper.Catalog("", "")
	r := o.pull(out, nil)
	if !r.OK() || r.Downloaded != len(all) || len(all) < 8 || r.FirstSeq != 1 || r.LastSeq != all[len(all)-1].Name.LastSeq {
		t.Errorf("%+v of %d", r, len(all))
	}
	o.same(out, all)
	asked := o.asked.Load()
	if r := o.pull(out, nil); r.Downloaded != 0 || r.Had != len(all) || o.asked.Load() != asked {
		t.Errorf("again: %+v, %d requests", r, o.asked.Load()-asked)
	}
	if b, err := os.ReadFile(filepath.Join(out, suppressedFile)); err != nil || !strings.Contains(string(b), "did:plc:gone") {
		t.Errorf("%s, %v", b, err)
	}
	// What was pulled is an archive itself.
	again := t.TempDir()
	src, err := Open(t.Context(), out)
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	if r, err := Pull(t.Context(), Options{From: src, Out: again}); err != nil || r.Downloaded != len(all) {
		t.Errorf("%+v, %v", r, err)
	}
	o.same(again, all)
}

func TestAPullThatIsCutAndKilledAnywhereEndsWhole(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	o := newOrigin(t, 400)
	all := o.shipper.Catalog("", "")
	var cuts atomic.Int64
	at := make(chan int, 1000)
	for range cap(at) {
		at <- rng.IntN(9000)
	}
	o.fault = func(w http.ResponseWriter, r *http.Request) bool { // sends a part of what is asked for
		n := <-at
		if n%3 == 0 {
			return false
		}
		rec := httptest.NewRecorder()
		e := entryOf(t, all, r.URL.Path)
		rec.Header().Set("ETag", fmt.Sprintf(`"%x"`, e.SHA256))
		http.ServeFile(rec, r, filepath.Join(o.dir, e.Key()))
		cuts.Add(1)
		for k, v := range rec.Header() {
			w.Header()[k] = v
		}
		w.WriteHeader(rec.Code)
		_, _ = w.Write(rec.Body.Bytes()[:min(n, rec.Body.Len())])
		panic(http.ErrAbortHandler)
	}
	o.server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)
	out := t.TempDir()
	kills := 0
	for kills < 10 {
		ctx, cancel := context.WithCancel(t.Context())
		limit := int64(rng.IntN(60_000))
		_, err := o.try(ctx, out, func(p *Options) {
			p.Progress = func(done, _ int64) {
				if done > limit {
					cancel() // as a kill: what is written stays as it is
				}
			}
		})
		cancel()
		if err == nil {
			break
		}
		if !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		kills++
	}
	r := o.pull(out, nil)
	if !r.OK() || r.Had+r.Downloaded != len(all) {
		t.Errorf("%+v", r)
	}
	o.same(out, all)
	if cuts.Load() == 0 || kills == 0 {
		t.Errorf("%d cuts, %d kills were felt", cuts.Load(), kills)
	}
}

func entryOf(t *testing.T, all []ship.Entry, path string) ship.Entry {
	for _, e := range all {
		if strings.HasSuffix(path, e.Name.String()) {
			return e
		}
	}
	t.Errorf("%s is of no segment", path)
	return ship.Entry{}
}

func TestBytesThatAreOthersAreFoundAndNamedAndTheRestIsPulled(t *testing.T) {
	o := newOrigin(t, 300)
	all := o.shipper.Catalog("", "")
	bad := all[1]
	o.fault = func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, bad.Name.String()) {
			return false
		}
		b, err := os.ReadFile(filepath.Join(o.dir, bad.Key()))
		if err != nil {
			t.Error(err)
		}
		b[len(b)/2] ^= 1
		_, _ = w.Write(b)
		return true
	}
	out := t.TempDir()
	var named []segmentlog.SegmentName
	r := o.pull(out, func(p *Options) {
		p.Problem = func(n segmentlog.SegmentName, err error) {
			if !errors.Is(err, errDiffers) {
				t.Error(err)
			}
			named = append(named, n)
		}
	})
	if r.OK() || r.Failed != 1 || len(named) != 1 || named[0] != bad.Name || r.Downloaded != len(all)-1 || len(r.Holes) != 1 || r.Holes[0].Records != bad.Records {
		t.Errorf("%+v, %v", r, named)
	}
	o.fault = nil
	if r := o.pull(out, nil); !r.OK() || r.Downloaded != 1 {
		t.Errorf("again: %+v", r)
	}
	o.same(out, all)
}

func TestWhatIsAskedForIsPulledAndNothingElse(t *testing.T) {
	o := newOrigin(t, 500)
	all := o.shipper.Catalog("", "")
	mid := all[3]
	for what, c := range map[string]struct {
		change func(*Options)
		want   []ship.Entry
	}{
		"one seq":   {func(p *Options) { p.First, p.Last = mid.Name.LastSeq, mid.Name.LastSeq }, all[3:4]},
		"from seq":  {func(p *Options) { p.First = mid.Name.FirstSeq }, all[3:]},
		"up to seq": {func(p *Options) { p.Last = mid.Name.LastSeq }, all[:4]},
		"since":     {func(p *Options) { p.Since = time.UnixMicro(mid.FirstWitnessed) }, all[3:]},
		"until":     {func(p *Options) { p.Until = time.UnixMicro(mid.FirstWitnessed) }, all[:3]},
		"tomorrow":  {func(p *Options) { p.Since = time.Now().Add(48 * time.Hour) }, nil},
	} {
		out := t.TempDir()
		r := o.pull(out, c.change)
		if !r.OK() || r.Downloaded != len(c.want) {
			t.Errorf("%s: %+v, not %d", what, r, len(c.want))
		}
		if len(c.want) > 0 {
			o.same(out, c.want)
		}
	}
}

func TestAFolderOfAnotherStreamIsLeftAsItIs(t *testing.T) {
	a, b := newOrigin(t, 100), newOrigin(t, 100)
	out := t.TempDir()
	a.pull(out, nil)
	if _, err := b.try(t.Context(), out, nil); !errors.Is(err, ErrOtherStream) || !strings.Contains(err.Error(), out) {
		t.Errorf("%v", err)
	}
	a.same(out, a.shipper.Catalog("", ""))
}

func TestANewerGenerationTakesTheOldOnesPlace(t *testing.T) {
	o := newOrigin(t, 200)
	all := o.shipper.Catalog("", "")
	out := t.TempDir()
	o.pull(out, nil)
	// A local file that a newer generation, here one that is there, replaces.
	old := all[0].Name
	newer := all[0]
	newer.Name.Generation = 1
	if !superseded(old, &newer) || superseded(newer.Name, &newer) || superseded(old, &all[0]) {
		t.Error("generations are taken wrongly")
	}
	// Three neighbours became one.
	merged := all[0]
	merged.Name.LastSeq, merged.Name.Generation = all[2].Name.LastSeq, 1
	merged.Records, merged.Root = all[0].Records+all[1].Records+all[2].Records, all[2].Root
	another := merged
	another.Root[5] ^= 1
	if !sameLeaves(&merged, []ship.Entry{all[1], all[0], all[2]}) || sameLeaves(&merged, []ship.Entry{all[0], all[2]}) ||
		sameLeaves(&merged, all[:2]) || sameLeaves(&another, []ship.Entry{all[0], all[1], all[2]}) {
		t.Error("leaves are compared wrongly")
	}
	older := filepath.Join(out, "segments", "2026", "01", "01", segmentlog.SegmentName{Epoch: 1, FirstSeq: all[1].Name.FirstSeq, LastSeq: all[1].Name.FirstSeq}.String())
	if err := os.MkdirAll(filepath.Dir(older), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(older, []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	if r := o.pull(out, nil); r.Removed != 0 { // of the same generation: not ours to judge
		t.Errorf("%+v", r)
	}
}

func TestAServerThatAsksForTimeGetsIt(t *testing.T) {
	o := newOrigin(t, 100)
	var refused atomic.Int64
	o.fault = func(w http.ResponseWriter, _ *http.Request) bool {
		if refused.Add(1) > 3 {
			return false
		}
		w.WriteHeader(http.StatusServiceUnavailable)
		return true
	}
	if r := o.pull(t.TempDir(), nil); !r.OK() || refused.Load() < 4 {
		t.Errorf("%+v, %d", r, refused.Load())
	}
	o.fault = func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(http.StatusNotFound); return true }
	r := o.pull(t.TempDir(), func(p *Options) { p.Problem = func(segmentlog.SegmentName, error) {} })
	if r.OK() || r.Failed != r.Segments {
		t.Errorf("%+v", r)
	}
}
