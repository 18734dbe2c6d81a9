package buckettest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cistern-archive/cistern/segmentlog/bucket"
)

func wrongBody(t *testing.T, b bucket.Bucket) {
	old := create(t, b, "kept", "kept")
	for what, change := range map[string]func(*bucket.Body){
		"another hash":      func(body *bucket.Body) { body.SHA256[0] ^= 1 },
		"another byte":      func(body *bucket.Body) { body.Bytes = strings.NewReader("wrongs") },
		"fewer than it has": func(body *bucket.Body) { body.Size-- },
	} {
		body := bucket.BytesBody([]byte("bright"))
		change(&body)
		if _, err := b.Create(t.Context(), "wrong", body); err == nil {
			t.Errorf("%s was taken", what)
		}
		absent(t, b, "wrong")
		if _, err := b.Replace(t.Context(), "kept", old.Version, body); err == nil {
			t.Errorf("%s was taken", what)
		}
		want(t, b, "kept", "kept")
	}
}

// failing reads zeros up to a place and then fails.
type failing struct {
	at  int64
	err error
}

func (f failing) ReadAt(p []byte, off int64) (int, error) {
	if off+int64(len(p)) <= f.at {
		clear(p)
		return len(p), nil
	}
	n := max(0, f.at-off)
	clear(p[:n])
	return int(n), f.err
}

func failingBody(t *testing.T, b bucket.Bucket) {
	errBroken := errors.New("broken")
	for _, at := range []int64{0, 1, 100_000, 1<<20 - 1} {
		body := bucket.BytesBody(make([]byte, 1<<20))
		for _, err := range []error{errBroken, io.EOF} {
			body.Bytes = failing{at, err}
			if _, err := b.Create(t.Context(), "broken", body); err == nil {
				t.Errorf("a body that ends after %d bytes was taken", at)
			}
			absent(t, b, "broken")
		}
	}
}

func cancelled(t *testing.T, b bucket.Bucket) {
	content := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	for i := range 10 {
		key := fmt.Sprintf("cancelled/%d", i)
		ctx, cancel := context.WithCancel(t.Context())
		body := bucket.BytesBody(content)
		body.Bytes = &cancelling{bytes.NewReader(content), int64(i) * 100_000, cancel}
		_, err := b.Create(ctx, key, body)
		cancel()
		if _, serr := b.Stat(t.Context(), key); serr == nil {
			want(t, b, key, string(content))
		} else if err == nil {
			t.Errorf("written and not there: %v", serr)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := b.Create(ctx, "never", bucket.BytesBody(nil)); !errors.Is(err, context.Canceled) {
		t.Errorf("with a context that has ended: %v", err)
	}
	absent(t, b, "never")
	for _, err := range b.List(ctx, "", "") {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("with a context that has ended: %v", err)
		}
	}
}

// cancelling cancels when it is read beyond a place.
type cancelling struct {
	io.ReaderAt
	at     int64
	cancel func()
}

func (c *cancelling) ReadAt(p []byte, off int64) (int, error) {
	if off+int64(len(p)) > c.at {
		c.cancel()
	}
	return c.ReaderAt.ReadAt(p, off)
}

func fromFile(t *testing.T, b bucket.Bucket) {
	path := filepath.Join(t.TempDir(), "local")
	content := []byte("what a local file holds")
	if err := os.WriteFile(path, content, 0o644); err != nil {
		t.Fatal(err)
	}
	body := bucket.BytesBody(content)
	body.Path = path
	if _, err := b.Create(t.Context(), "from/file", body); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	want(t, b, "from/file", string(content))
	if err := bucket.Confirm(t.Context(), b, "from/file", body); err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(path, []byte("what a local file hold!"), 0o644); err != nil {
		t.Fatal(err)
	}
	body.Bytes = strings.NewReader("what a local file hold!")
	if _, err := b.Create(t.Context(), "from/rot", body); err == nil {
		t.Error("a file that is not its hash was taken")
	}
	absent(t, b, "from/rot")
}

func large(t *testing.T, b bucket.Bucket) {
	content := make([]byte, 64<<20)
	rng := rand.NewChaCha8([32]byte{1})
	_, _ = rng.Read(content) // never fails
	body := bucket.BytesBody(content)
	if _, err := b.Create(t.Context(), "large", body); err != nil {
		t.Fatal(err)
	}
	if err := bucket.Confirm(t.Context(), b, "large", body); err != nil {
		t.Error(err)
	}
	if got, err := read(t, b, "large", 40<<20, 1<<20); err != nil || got != string(content[40<<20:41<<20]) {
		t.Errorf("a part of it: %d bytes, %v", len(got), err)
	}
}
