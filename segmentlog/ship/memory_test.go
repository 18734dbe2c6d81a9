package ship

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/cistern-archive/cistern/segmentlog/bucket"
)

// memory is a bucket in memory, whose calls a test can watch and break.
type memory struct {
	mu      sync.Mutex
	objects map[string]memObject
	version int

	// before and after are called around every call that may change something, and what
	// they return is the call's error: before it was done, or though it was.
	before, after func(call string) error
	reading       func(key string) error // the same for Stat and Read, before them
	calls         []string
}

type memObject struct {
	bytes   []byte
	version bucket.Version
}

func newMemory() *memory { return &memory{objects: map[string]memObject{}} }

// write does f between the hooks.
func (m *memory) write(ctx context.Context, call string, f func() (bucket.Info, error)) (bucket.Info, error) {
	if err := ctx.Err(); err != nil {
		return bucket.Info{}, err
	}
	m.mu.Lock()
	before, after := m.before, m.after
	m.mu.Unlock()
	if before != nil {
		if err := before(call); err != nil {
			return bucket.Info{}, err
		}
	}
	m.mu.Lock()
	m.calls = append(m.calls, call)
	info, err := f()
	m.mu.Unlock()
	if err == nil && after != nil {
		err = after(call)
	}
	return info, err
}

func (m *memory) put(key string, body bucket.Body) (bucket.Info, error) {
	b, err := io.ReadAll(io.NewSectionReader(body.Bytes, 0, body.Size))
	if err != nil {
		return bucket.Info{}, err
	}
	if int64(len(b)) != body.Size || sha256.Sum256(b) != body.SHA256 {
		return bucket.Info{}, &bucket.MismatchError{Key: key}
	}
	m.version++
	o := memObject{b, bucket.Version(fmt.Sprint(m.version))}
	m.objects[key] = o
	return bucket.Info{Key: key, Size: int64(len(b)), Version: o.version}, nil
}

func (m *memory) Create(ctx context.Context, key string, body bucket.Body) (bucket.Info, error) {
	return m.write(ctx, "create "+key, func() (bucket.Info, error) {
		if _, ok := m.objects[key]; ok {
			return bucket.Info{}, fmt.Errorf("%s: %w", key, bucket.ErrExists)
		}
		return m.put(key, body)
	})
}

func (m *memory) Replace(ctx context.Context, key string, old bucket.Version, body bucket.Body) (bucket.Info, error) {
	return m.write(ctx, "replace "+key, func() (bucket.Info, error) {
		if o, ok := m.objects[key]; !ok || o.version != old {
			return bucket.Info{}, fmt.Errorf("%s: %w", key, bucket.ErrChanged)
		}
		return m.put(key, body)
	})
}

func (m *memory) Read(ctx context.Context, key string, off, n int64) (io.ReadCloser, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := m.mayRead(key); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	o, ok := m.objects[key]
	if !ok {
		return nil, fmt.Errorf("%s: %w", key, bucket.ErrNotFound)
	}
	b := o.bytes[min(off, int64(len(o.bytes))):]
	if n >= 0 {
		b = b[:min(n, int64(len(b)))]
	}
	return io.NopCloser(bytes.NewReader(b)), nil
}

func (m *memory) mayRead(key string) error {
	m.mu.Lock()
	reading := m.reading
	m.mu.Unlock()
	if reading == nil {
		return nil
	}
	return reading(key)
}

func (m *memory) Stat(ctx context.Context, key string) (bucket.Info, error) {
	if err := ctx.Err(); err != nil {
		return bucket.Info{}, err
	}
	if err := m.mayRead(key); err != nil {
		return bucket.Info{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	o, ok := m.objects[key]
	if !ok {
		return bucket.Info{}, fmt.Errorf("%s: %w", key, bucket.ErrNotFound)
	}
	return bucket.Info{Key: key, Size: int64(len(o.bytes)), Version: o.version}, nil
}

func (m *memory) List(ctx context.Context, prefix, after string) iter.Seq2[bucket.Info, error] {
	m.mu.Lock()
	keys := slices.Sorted(maps.Keys(m.objects))
	m.mu.Unlock()
	return func(yield func(bucket.Info, error) bool) {
		for _, k := range keys {
			if !strings.HasPrefix(k, prefix) || k <= after {
				continue
			}
			info, err := m.Stat(ctx, k)
			if errors.Is(err, bucket.ErrNotFound) {
				continue
			}
			if !yield(info, err) {
				return
			}
		}
	}
}

func (m *memory) Delete(ctx context.Context, key string) error {
	_, err := m.write(ctx, "delete "+key, func() (bucket.Info, error) {
		delete(m.objects, key)
		return bucket.Info{}, nil
	})
	return err
}

func (m *memory) Close() error   { return nil }
func (m *memory) String() string { return "memory" }

// snapshot copies what the bucket holds.
func (m *memory) snapshot() map[string][]byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := map[string][]byte{}
	for k, o := range m.objects {
		out[k] = o.bytes
	}
	return out
}
