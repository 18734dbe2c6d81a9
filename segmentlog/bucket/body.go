package bucket

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
)

// BytesBody is the body that holds b.
func BytesBody(b []byte) Body {
	return Body{Size: int64(len(b)), SHA256: sha256.Sum256(b), Bytes: bytes.NewReader(b)}
}

// ReadAll reads a whole object that is at most limit bytes long.
func ReadAll(ctx context.Context, b Bucket, key string, limit int64) ([]byte, Info, error) {
	info, err := b.Stat(ctx, key)
	if err != nil {
		return nil, Info{}, err
	}
	if info.Size > limit {
		return nil, Info{}, fmt.Errorf("%s is %d bytes long, more than the %d it may be", key, info.Size, limit)
	}
	r, err := b.Read(ctx, key, 0, -1)
	if err != nil {
		return nil, Info{}, err
	}
	defer r.Close()
	buf := make([]byte, info.Size)
	if _, err := io.ReadFull(r, buf); err != nil {
		return nil, Info{}, fmt.Errorf("read %s: %w", key, err)
	}
	return buf, info, nil
}

// ReaderAt reads an object by ranges, each its own request and nothing kept, until ctx
// ends.
func ReaderAt(ctx context.Context, b Bucket, key string) io.ReaderAt { return readerAt{ctx, b, key} }

type readerAt struct {
	ctx context.Context //nolint:containedctx // io.ReaderAt has no room for one
	b   Bucket
	key string
}

func (r readerAt) ReadAt(p []byte, off int64) (int, error) {
	body, err := r.b.Read(r.ctx, r.key, off, int64(len(p)))
	if err != nil {
		return 0, err
	}
	n, err := io.ReadFull(body, p)
	return n, errors.Join(err, body.Close())
}
