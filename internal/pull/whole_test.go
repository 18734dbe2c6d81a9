package pull

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cistern-archive/cistern/segmentlog"
	"github.com/cistern-archive/cistern/segmentlog/ship"
)

// forger is a source of segments and of a catalog that are of the same hand.
type forger struct {
	liar
	files map[segmentlog.SegmentName][]byte
}

func (f forger) Fetch(_ context.Context, e ship.Entry, off int64) (io.ReadCloser, error) {
	return io.NopCloser(bytes.NewReader(f.files[e.Name][off:])), nil
}
func (f forger) Suppressed(context.Context) ([]byte, error) { return nil, nil }

// sealed writes a log of 60 events that are filled with a byte, and reads its segments.
func sealed(t *testing.T, stream *segmentlog.Stream, fill byte) forger {
	t.Helper()
	committed, seals := make(chan struct{}, 1), make(chan struct{}, 60)
	o := segmentlog.Options{
		Dir: t.TempDir(), Logger: slog.New(slog.DiscardHandler), Stream: stream, MaxHotBytes: 8 << 10,
		Seal: &segmentlog.SegmentOptions{BlockSize: 2 << 10}, OnCommit: func(segmentlog.Batch) { committed <- struct{}{} },
	}
	o.Events.Seal = func(segmentlog.SealInfo) { seals <- struct{}{} }
	log, err := segmentlog.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	for range 60 {
		if _, err := log.Append(t.Context(), &segmentlog.Entry{
			DID: "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa", Host: "pds.example", HostEpoch: 1, Head: []byte("frame "), Tail: bytes.Repeat([]byte{fill}, 500),
		}); err != nil {
			t.Fatal(err)
		}
		<-committed
	}
	for log.Closed() > 0 {
		<-seals
	}
	f := forger{liar{stream: stream}, map[segmentlog.SegmentName][]byte{}}
	for _, s := range log.Sealed(0) {
		b, err := os.ReadFile(s.Path)
		if err != nil {
			t.Fatal(err)
		}
		f.add(t, s.Name, b)
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	return f
}

// add lets the source have a segment, and its catalog say so.
func (f *forger) add(t *testing.T, n segmentlog.SegmentName, b []byte) {
	t.Helper()
	seg, err := segmentlog.OpenSegment(n.String(), bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	e, err := ship.NewEntry(seg.Footer(), int64(len(b)), sha256.Sum256(b))
	if err != nil {
		t.Fatal(err)
	}
	f.files[n], f.entries = b, append(f.entries, e)
}

// taken pulls from the source and returns what was said of which segment.
func (f forger) taken(t *testing.T) (*Report, map[segmentlog.SegmentName]error, string) {
	t.Helper()
	out, said := t.TempDir(), map[segmentlog.SegmentName]error{}
	r, err := Pull(t.Context(), Options{From: f, Out: out, Problem: func(n segmentlog.SegmentName, err error) { said[n] = err }})
	if err != nil {
		t.Fatal(err)
	}
	return r, said, out
}

func TestABlockThatIsNotWhatItsFooterSaysIsFoundThoughTheCatalogAgreesWithTheFile(t *testing.T) {
	stream := segmentlog.NewStream(1)
	whole := sealed(t, &stream, 1)
	if r, said, _ := whole.taken(t); !r.OK() || r.Downloaded < 3 {
		t.Fatalf("%+v, %v", r, said)
	}
	f := forger{liar{stream: &stream}, map[segmentlog.SegmentName][]byte{}}
	for i, e := range whole.entries {
		b := bytes.Clone(whole.files[e.Name])
		if i == 1 {
			b[len(b)/4] ^= 1
		}
		f.add(t, e.Name, b)
	}
	bad := f.entries[1]
	r, said, out := f.taken(t)
	var corrupt *segmentlog.CorruptError
	if r.OK() || r.Failed != 1 || !errors.As(said[bad.Name], &corrupt) || !strings.Contains(corrupt.Error(), "SHA-256") {
		t.Errorf("%+v, %v", r, said)
	}
	if want := (Hole{bad.Name.FirstSeq, bad.Name.LastSeq, bad.Records}); len(r.Holes) != 1 || r.Holes[0] != want {
		t.Errorf("holes %+v, expected %+v", r.Holes, want)
	}
	left, err := filepath.Glob(filepath.Join(out, filepath.FromSlash(bad.Key())) + "*")
	if err != nil || len(left) != 0 {
		t.Errorf("%v is there, %v", left, err)
	}
}

func TestASegmentOfAnotherTreeIsNamed(t *testing.T) {
	stream := segmentlog.NewStream(1)
	one, other := sealed(t, &stream, 1), sealed(t, &stream, 2)
	f := forger{liar{stream: &stream}, map[segmentlog.SegmentName][]byte{}}
	for i, e := range one.entries {
		from := one
		if i >= 2 {
			from = other
		}
		if from.files[e.Name] == nil {
			t.Fatalf("the other log has no %s", e.Name)
		}
		f.add(t, e.Name, from.files[e.Name])
	}
	r, said, _ := f.taken(t)
	if err := said[f.entries[2].Name]; r.OK() || r.Failed != 1 || err == nil || !strings.Contains(err.Error(), "its tree does not follow") {
		t.Errorf("%+v, %v", r, said)
	}
}
