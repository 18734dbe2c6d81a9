package fetch

import (
	"context"
	"fmt"
	"io"
	"sync/atomic"
)

// Object is an object of the bucket as an io.ReaderAt. It may be read from any goroutine.
type Object struct {
	f    *Fetcher
	ctx  context.Context //nolint:containedctx // io.ReaderAt has no room for one
	key  string
	size int64
	last atomic.Int64 // the part that was read last, and 1
}

// Open returns an object of size bytes and asks nobody.
func (f *Fetcher) Open(key string, size int64) *Object {
	return &Object{f: f, ctx: context.Background(), key: key, size: size}
}

// WithContext returns the object with reads that give up when ctx ends.
func (o *Object) WithContext(ctx context.Context) *Object {
	return &Object{f: o.f, ctx: ctx, key: o.key, size: o.size}
}

// Size returns the length of the object in bytes.
func (o *Object) Size() int64 { return o.size }

// Close does nothing: what is cached stays for others.
func (o *Object) Close() error { return nil }

// ReadAt reads b from off. It waits for what is not cached; errors are those of the
// bucket, wrapped with key and offset, or ErrClosed.
func (o *Object) ReadAt(b []byte, off int64) (n int, err error) {
	if off < 0 || off > o.size {
		return 0, fmt.Errorf("%s: read at %d of %d bytes", o.key, off, o.size)
	}
	want := b[:min(int64(len(b)), o.size-off)]
	for n < len(want) {
		m, err := o.readPart(want[n:], off+int64(n))
		n += m
		if err != nil {
			return n, err
		}
	}
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

// readPart reads what one part has of b.
func (o *Object) readPart(b []byte, off int64) (int, error) {
	size := o.f.o.PartBytes
	k := partKey{o.key, off / size}
	p, err := o.f.get(k, o.size, false)
	if err != nil {
		return 0, err
	}
	defer o.f.release(p)
	if before := o.last.Swap(k.index + 1); before == k.index && before > 0 {
		if err := o.readAhead(k.index); err != nil {
			return 0, err
		}
	}
	select {
	case <-p.done:
	default:
		select {
		case <-p.done:
		case <-o.ctx.Done():
			return 0, context.Cause(o.ctx)
		}
	}
	if p.err != nil {
		return 0, p.err
	}
	return p.readAt(b[:min(int64(len(b)), p.off+p.size-off)], off-p.off)
}

// readAhead asks for the parts after one.
func (o *Object) readAhead(index int64) error {
	for i := index + 1; i <= index+int64(o.f.o.Ahead) && i*o.f.o.PartBytes < o.size; i++ {
		if _, err := o.f.get(partKey{o.key, i}, o.size, true); err != nil {
			return err
		}
	}
	return nil
}
