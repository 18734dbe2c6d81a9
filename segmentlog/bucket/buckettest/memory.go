package buckettest

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

// Memory is a bucket in memory, whose calls a test can watch and break.
type Memory struct {
	Mu      sync.Mutex // guards what follows, and is not held while the hooks run
	Objects map[string]Object
	Calls   []string // that may have changed something

	// Before and After are called around every call that may change something, and what
	// they return is the call's error: before it was done, or though it was.
	Before, After func(call string) error
	// Reading is called before every Stat and Read of a key, and what it returns is theirs.
	Reading func(key string) error

	version int
}

// Object is what a Memory holds under a key.
type Object struct {
	Bytes   []byte
	Version bucket.Version
}

// NewMemory returns an empty bucket.
func NewMemory() *Memory { return &Memory{Objects: map[string]Object{}} }

// write does f between the hooks.
func (m *Memory) write(ctx context.Context, call string, f func() (bucket.Info, error)) (bucket.Info, error) {
	if err := ctx.Err(); err != nil {
		return bucket.Info{}, err
	}
	if _, key, _ := strings.Cut(call, " "); !bucket.ValidKey(key) {
		return bucket.Info{}, fmt.Errorf("%q is not a key", key)
	}
	m.Mu.Lock()
	before, after := m.Before, m.After
	m.Mu.Unlock()
	if before != nil {
		if err := before(call); err != nil {
			return bucket.Info{}, err
		}
	}
	m.Mu.Lock()
	m.Calls = append(m.Calls, call)
	info, err := f()
	m.Mu.Unlock()
	if err == nil && after != nil {
		err = after(call)
	}
	return info, err
}

func (m *Memory) put(key string, body bucket.Body) (bucket.Info, error) {
	b, err := io.ReadAll(io.NewSectionReader(body.Bytes, 0, body.Size))
	if err != nil {
		return bucket.Info{}, err
	}
	if int64(len(b)) != body.Size || sha256.Sum256(b) != body.SHA256 {
		return bucket.Info{}, &bucket.MismatchError{Key: key}
	}
	m.version++
	o := Object{b, bucket.Version(fmt.Sprint(m.version))}
	m.Objects[key] = o
	return bucket.Info{Key: key, Size: int64(len(b)), Version: o.Version}, nil
}

// Create implements bucket.Bucket.
func (m *Memory) Create(ctx context.Context, key string, body bucket.Body) (bucket.Info, error) {
	return m.write(ctx, "create "+key, func() (bucket.Info, error) {
		if _, ok := m.Objects[key]; ok {
			return bucket.Info{}, fmt.Errorf("%s: %w", key, bucket.ErrExists)
		}
		return m.put(key, body)
	})
}

// Replace implements bucket.Bucket.
func (m *Memory) Replace(ctx context.Context, key string, old bucket.Version, body bucket.Body) (bucket.Info, error) {
	return m.write(ctx, "replace "+key, func() (bucket.Info, error) {
		if o, ok := m.Objects[key]; !ok || o.Version != old {
			return bucket.Info{}, fmt.Errorf("%s: %w", key, bucket.ErrChanged)
		}
		return m.put(key, body)
	})
}

// Read implements bucket.Bucket.
func (m *Memory) Read(ctx context.Context, key string, off, n int64) (io.ReadCloser, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := m.mayRead(key); err != nil {
		return nil, err
	}
	m.Mu.Lock()
	defer m.Mu.Unlock()
	o, ok := m.Objects[key]
	if !ok {
		return nil, fmt.Errorf("%s: %w", key, bucket.ErrNotFound)
	}
	end := int64(len(o.Bytes))
	switch {
	case off < 0:
		return nil, fmt.Errorf("%s: offset %d", key, off)
	case n < 0 && off > end:
		return nil, fmt.Errorf("%s: %w", key, io.ErrUnexpectedEOF)
	case n < 0:
		n = end - off
	}
	b := bytes.NewReader(o.Bytes[min(off, end):min(off+n, end)])
	if int64(b.Len()) < n {
		return io.NopCloser(io.MultiReader(b, tooShort{})), nil
	}
	return io.NopCloser(b), nil
}

// tooShort is the end of what is shorter than was asked for.
type tooShort struct{}

func (tooShort) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func (m *Memory) mayRead(key string) error {
	m.Mu.Lock()
	reading := m.Reading
	m.Mu.Unlock()
	if !bucket.ValidKey(key) {
		return fmt.Errorf("%q is not a key", key)
	}
	if reading == nil {
		return nil
	}
	return reading(key)
}

// Stat implements bucket.Bucket.
func (m *Memory) Stat(ctx context.Context, key string) (bucket.Info, error) {
	if err := ctx.Err(); err != nil {
		return bucket.Info{}, err
	}
	if err := m.mayRead(key); err != nil {
		return bucket.Info{}, err
	}
	m.Mu.Lock()
	defer m.Mu.Unlock()
	o, ok := m.Objects[key]
	if !ok {
		return bucket.Info{}, fmt.Errorf("%s: %w", key, bucket.ErrNotFound)
	}
	return bucket.Info{Key: key, Size: int64(len(o.Bytes)), Version: o.Version}, nil
}

// List implements bucket.Bucket.
func (m *Memory) List(ctx context.Context, prefix, after string) iter.Seq2[bucket.Info, error] {
	m.Mu.Lock()
	keys := slices.Sorted(maps.Keys(m.Objects))
	m.Mu.Unlock()
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

// Delete implements bucket.Bucket.
func (m *Memory) Delete(ctx context.Context, key string) error {
	_, err := m.write(ctx, "delete "+key, func() (bucket.Info, error) {
		delete(m.Objects, key)
		return bucket.Info{}, nil
	})
	return err
}

// Close implements bucket.Bucket.
func (m *Memory) Close() error { return nil }

// String implements bucket.Bucket.
func (m *Memory) String() string { return "memory" }

// Snapshot copies what the bucket holds.
func (m *Memory) Snapshot() map[string][]byte {
	m.Mu.Lock()
	defer m.Mu.Unlock()
	out := map[string][]byte{}
	for k, o := range m.Objects {
		out[k] = o.Bytes
	}
	return out
}
