package ship

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/cistern-archive/cistern/segmentlog"
	"github.com/cistern-archive/cistern/segmentlog/fetch"
)

// liar is a bucket that answers the first so many reads with a bit wrong in every 50 bytes.
type liar struct {
	*memory
	lies, told atomic.Int64
}

func (l *liar) Read(ctx context.Context, key string, off, n int64) (io.ReadCloser, error) {
	r, err := l.memory.Read(ctx, key, off, n)
	if err != nil || l.told.Load() >= l.lies.Load() {
		return r, err
	}
	l.told.Add(1)
	return rotten{r}, nil
}

type rotten struct{ io.ReadCloser }

func (r rotten) Read(b []byte) (int, error) {
	n, err := r.ReadCloser.Read(b)
	for i := 0; i < n; i += 50 {
		b[i] ^= 1
	}
	return n, err
}

// cachedLog is a log of which all but the newest segment is in the bucket only, read
// through a cache of small parts in dir.
func cachedLog(t *testing.T) (w *writer, b *liar, dir string) {
	b = &liar{memory: newMemory()}
	w = mustStart(t, options(b.memory, t.TempDir()))
	t.Cleanup(w.kill)
	w.append("event", 200)
	w.allShipped()
	for _, f := range w.log.Sealed(0) {
		if err := w.log.Evict(f.Name); err != nil {
			t.Fatal(err)
		}
	}
	dir = filepath.Join(t.TempDir(), "cache")
	f, err := fetch.New(fetch.Options{Bucket: b, Dir: dir, PartBytes: 1000, CacheBytes: 10 << 20, Ahead: -1, Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	w.fetcher.Store(f)
	return w, b, dir
}

// replay reads everything, as a Reader or in chunks, up to the first error.
func (w *writer) replay(chunks bool) (n int, err error) {
	if chunks {
		for c, err := range w.log.Chunks(0) {
			if err != nil {
				return n, err
			}
			for _, err := range c.Records(nil) {
				if err != nil {
					return n, err
				}
				n++
			}
		}
		return n, nil
	}
	r := w.log.NewReader(0)
	defer r.Close()
	var rec segmentlog.Record
	for ; ; n++ {
		if err := r.Next(&rec); errors.Is(err, io.EOF) {
			return n, nil
		} else if err != nil {
			return n, err
		}
	}
}

func TestRotInTheCacheNeverEndsAReplay(t *testing.T) {
	for _, chunks := range []bool{false, true} {
		w, b, dir := cachedLog(t)
		if n, err := w.replay(chunks); n != 200 || err != nil {
			t.Fatal(n, err)
		}
		parts, err := filepath.Glob(filepath.Join(dir, "*"))
		if err != nil || len(parts) < 10 {
			t.Fatal(parts, err)
		}
		for _, path := range parts { // every part, footers and seek tables too
			p, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			for i := 0; i < len(p); i += 50 {
				p[i] ^= 1
			}
			if err := os.WriteFile(path, p, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if n, err := w.replay(chunks); n != 200 || err != nil {
			t.Errorf("over a cache that rotted: %d events, %v", n, err)
		}
		b.lies.Store(1)
		w.fetcher.Load().Forget(w.shipped[1].Key())
		if n, err := w.replay(chunks); n != 200 || err != nil || b.told.Load() != 1 {
			t.Errorf("over a store that lied %d times: %d events, %v", b.told.Load(), n, err)
		}
	}
}

func TestRotInTheStoreEndsAReplayAndIsNamed(t *testing.T) {
	for _, chunks := range []bool{false, true} {
		w, b, _ := cachedLog(t)
		bad := w.shipped[1]
		b.Mu.Lock()
		b.Objects[bad.Key()].Bytes[bad.Bytes/3] ^= 1
		b.Mu.Unlock()
		var corrupt *segmentlog.CorruptError
		n, err := w.replay(chunks)
		if !errors.As(err, &corrupt) || corrupt.File != bad.Name.String() || uint64(n) < w.shipped[0].Records || n >= 200 {
			t.Errorf("%d events, then %v; the bad one is %s", n, err, bad.Name)
		}
	}
}
