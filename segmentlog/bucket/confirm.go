package bucket

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
)

// MismatchError means that an object does not hold what it should.
type MismatchError struct {
	Key  string
	Want Body   // size and hash
	Size int64  // of the object
	Sum  []byte // its SHA-256, nil where the size differs already
}

func (e *MismatchError) Error() string {
	if e.Sum == nil {
		return fmt.Sprintf("%s has %d bytes, not %d", e.Key, e.Size, e.Want.Size)
	}
	return fmt.Sprintf("%s has SHA-256 %x, not %x", e.Key, e.Sum, e.Want.SHA256)
}

// Confirm returns nil when the store says that the object is body: its length, and its
// SHA-256 where the store keeps one, else that of what is read back. An object that is
// not is a *MismatchError.
func Confirm(ctx context.Context, b Bucket, key string, body Body) error {
	info, err := b.Stat(ctx, key)
	if err != nil {
		return fmt.Errorf("confirm: %w", err)
	}
	if info.Size != body.Size {
		return &MismatchError{Key: key, Want: body, Size: info.Size}
	}
	sum := info.SHA256
	if sum == nil {
		if sum, err = ReadBack(ctx, b, key); err != nil {
			return fmt.Errorf("confirm: %w", err)
		}
	}
	if !bytes.Equal(sum, body.SHA256[:]) {
		return &MismatchError{Key: key, Want: body, Size: info.Size, Sum: sum}
	}
	return nil
}

// ReadBack returns the SHA-256 of an object by reading it whole.
func ReadBack(ctx context.Context, b Bucket, key string) ([]byte, error) {
	r, err := b.Read(ctx, key, 0, -1)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	h := sha256.New()
	if _, err := io.Copy(h, r); err != nil {
		return nil, fmt.Errorf("read %s: %w", key, err)
	}
	return h.Sum(nil), nil
}
