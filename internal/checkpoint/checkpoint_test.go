package checkpoint

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/cistern-archive/cistern/index"
	"github.com/cistern-archive/cistern/segmentlog"
	"github.com/cistern-archive/cistern/segmentlog/bucket"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var quiet = slog.New(slog.DiscardHandler)

func openIndex(t *testing.T, dir string, s segmentlog.Stream, tip uint64) *index.Index {
	t.Helper()
	x, err := index.Open(index.Options{Dir: dir, Logger: quiet, Stream: s.ID, Tip: tip, Epochs: s.Epochs})
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// fill applies accounts and hosts up to a seq.
func fill(t *testing.T, x *index.Index, from, to uint64) {
	t.Helper()
	b := x.NewBatch()
	for i := from; i <= to; i++ {
		did := fmt.Sprintf("did:plc:%024d", i%1000)
		b.Account(did, &index.Account{Set: index.HostField, Host: fmt.Sprintf("host%d.example", i%7), Marks: []index.Mark{{Host: fmt.Sprintf("host%d.example", i%7), At: i, Epoch: 1, Seq: i}}})
	}
	if err := b.Commit(t.Context(), to); err != nil {
		t.Fatal(err)
	}
}

// dumped is all that an index holds.
func dumped(t *testing.T, x *index.Index) (map[string]string, uint64) {
	t.Helper()
	all := map[string]string{}
	applied, err := x.Dump(t.Context(), func(k, v []byte) error { all[string(k)] = string(v); return nil })
	if err != nil {
		t.Fatal(err)
	}
	return all, applied
}

func write(t *testing.T, x *index.Index, s segmentlog.Stream, b bucket.Bucket) uint64 {
	t.Helper()
	seq, err := Write(t.Context(), WriteOptions{
		Index: x, Stream: s.ID, Bucket: b, Dir: filepath.Join(t.TempDir(), "parts"), Now: time.Now,
		May: func(context.Context) error { return nil }, Shipped: func(context.Context, uint64) error { return nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	return seq
}

func openBucket(t *testing.T) *bucket.Dir {
	t.Helper()
	b, err := bucket.OpenDir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() }) // nothing is left to do
	return b
}

func restoreTo(t *testing.T, b bucket.Bucket, s segmentlog.Stream, tip uint64) (string, uint64) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "index")
	seq, err := Restore(t.Context(), RestoreOptions{Bucket: b, Stream: s, Tip: tip, Dir: dir, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	return dir, seq
}

func TestAnIndexComesBackAsItWas(t *testing.T) {
	s, b := segmentlog.NewStream(1), openBucket(t)
	x := openIndex(t, t.TempDir(), s, 1e6)
	defer x.Close()
	fill(t, x, 1, 5000)
	if seq := write(t, x, s, b); seq != 5000 {
		t.Fatalf("checkpoint at %d", seq)
	}
	want, _ := dumped(t, x)
	dir, seq := restoreTo(t, b, s, 6000)
	if seq != 5000 {
		t.Fatalf("restored to %d", seq)
	}
	y := openIndex(t, dir, s, 6000)
	defer y.Close()
	if got, applied := dumped(t, y); !maps.Equal(got, want) || applied != 5000 || y.Discarded() != "" || len(want) < 1000 {
		t.Errorf("%d keys of %d, applied %d, %s", len(got), len(want), applied, y.Discarded())
	}
	fill(t, y, 5001, 5500) // and goes on
	if seq := write(t, y, s, b); seq != 5500 {
		t.Errorf("checkpoint at %d", seq)
	}
}

func TestTheLastTwoAreKept(t *testing.T) {
	s, b := segmentlog.NewStream(1), openBucket(t)
	x := openIndex(t, t.TempDir(), s, 1e6)
	defer x.Close()
	for i := range uint64(5) {
		fill(t, x, i*100+1, i*100+100)
		write(t, x, s, b)
		write(t, x, s, b) // nothing happened since
	}
	all, err := list(t.Context(), b)
	if err != nil || !slices.Equal(slices.Sorted(maps.Keys(all)), []uint64{400, 500}) {
		t.Errorf("%v, %v", all, err)
	}
	if at, err := Newest(t.Context(), b); err != nil || time.Since(at) > time.Minute {
		t.Errorf("%s, %v", at, err)
	}
}

func TestACheckpointThatDoesNotFitIsPassedOver(t *testing.T) {
	s := segmentlog.NewStream(1)
	other := segmentlog.NewStream(1)
	late := s
	late.Epochs = append(slices.Clone(s.Epochs), segmentlog.Epoch{Epoch: 2, FirstSeq: 1e9, PrevLastSeq: 150})
	for what, c := range map[string]struct {
		stream segmentlog.Stream
		tip    uint64
		harm   func(b *bucket.Dir, path func(seq int, name string) string)
		want   uint64
	}{
		"nothing":             {s, 200, nil, 200},
		"ahead of the log":    {s, 199, nil, 100},
		"all ahead":           {s, 99, nil, 0},
		"of another stream":   {other, 200, nil, 0},
		"in a lost tail":      {late, 1e9, nil, 100},
		"no manifest":         {s, 200, func(b *bucket.Dir, path func(int, string) string) { os.Remove(path(200, manifestName)) }, 100},
		"a part is gone":      {s, 200, func(b *bucket.Dir, path func(int, string) string) { os.Remove(path(200, partName(0))) }, 100},
		"a part was changed":  {s, 200, func(b *bucket.Dir, path func(int, string) string) { flip(path(200, partName(0)), 2) }, 100},
		"a part was cut":      {s, 200, func(b *bucket.Dir, path func(int, string) string) { cut(path(200, partName(0))) }, 100},
		"its end was changed": {s, 200, func(b *bucket.Dir, path func(int, string) string) { flip(path(200, partName(0)), 1) }, 100},
		"a broken manifest":   {s, 200, func(b *bucket.Dir, path func(int, string) string) { cut(path(200, manifestName)) }, 100},
		"another layout": {s, 200, func(b *bucket.Dir, path func(int, string) string) {
			p := path(200, manifestName)
			m, _ := os.ReadFile(p)
			_ = os.WriteFile(p, bytes.Replace(m, []byte(fmt.Sprintf(`"schema": %d`, index.Schema)), []byte(`"schema": 99`), 1), 0o644)
		}, 100},
	} {
		b := openBucket(t)
		x := openIndex(t, t.TempDir(), s, 1e6)
		fill(t, x, 1, 100)
		write(t, x, s, b)
		fill(t, x, 101, 200)
		write(t, x, s, b)
		if err := x.Close(); err != nil {
			t.Fatal(err)
		}
		if c.harm != nil {
			c.harm(b, func(seq int, name string) string { return filepath.Join(b.Path(), folder(uint64(seq)), name) })
		}
		dir, seq := restoreTo(t, b, c.stream, c.tip)
		if seq != c.want {
			t.Errorf("%s: restored to %d, not %d", what, seq, c.want)
		}
		if _, err := os.Stat(dir); (err == nil) != (seq > 0) {
			t.Errorf("%s: restored to %d, %v", what, seq, err)
		}
		if left, _ := filepath.Glob(dir + ".*"); len(left) > 0 {
			t.Errorf("%s: %q was left", what, left)
		}
	}
}

// flip changes a byte: at a share of the file, 1 for its last.
func flip(path string, share int) {
	b, _ := os.ReadFile(path)
	b[len(b)/share-1] ^= 1
	_ = os.WriteFile(path, b, 0o644)
}

func cut(path string) {
	b, _ := os.ReadFile(path)
	_ = os.WriteFile(path, b[:len(b)/2], 0o644)
}

func TestAWriteThatIsOvertakenOrAheadLeavesNoCheckpoint(t *testing.T) {
	s, b := segmentlog.NewStream(1), openBucket(t)
	x := openIndex(t, t.TempDir(), s, 1e6)
	defer x.Close()
	fill(t, x, 1, 100)
	no := errors.New("no")
	for _, o := range []WriteOptions{
		{May: func(context.Context) error { return no }, Shipped: func(context.Context, uint64) error { return nil }},
		{May: func(context.Context) error { return nil }, Shipped: func(_ context.Context, seq uint64) error {
			if seq != 100 {
				t.Errorf("seq %d", seq)
			}
			return no
		}},
	} {
		o.Index, o.Stream, o.Bucket, o.Dir, o.Now = x, s.ID, b, filepath.Join(t.TempDir(), "parts"), time.Now
		if _, err := Write(t.Context(), o); !errors.Is(err, no) {
			t.Errorf("%v", err)
		}
		if _, err := os.Stat(o.Dir); !errors.Is(err, os.ErrNotExist) {
			t.Error("its parts were left")
		}
	}
	for info, err := range b.List(t.Context(), "", "") {
		t.Errorf("%s, %v", info.Key, err)
	}
}

func FuzzParseManifest(f *testing.F) {
	m := Manifest{Version: 1, Stream: "s", Seq: 5, Schema: 2, Parts: []Part{{Name: partName(0), Bytes: 3, SHA256: strings.Repeat("ab", 32), Pairs: 1}}}
	f.Add(m.encode())
	f.Add([]byte(`{"version":1,"parts":[{}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := parseManifest(b)
		if err != nil {
			return
		}
		if again, err := parseManifest(m.encode()); err != nil || len(again.Parts) != len(m.Parts) {
			t.Fatalf("%+v, then %+v, %v", m, again, err)
		}
		for _, p := range m.Parts {
			if !bucket.ValidKey(folder(m.Seq) + p.Name) {
				t.Fatalf("%q", p.Name)
			}
		}
	})
}
