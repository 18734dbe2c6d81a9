// Package buckettest is the acceptance test of bucket.Bucket: what every place that
// keeps an archive must do.
package buckettest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cistern-archive/cistern/segmentlog/bucket"
)

// Run checks a backend. open returns an empty bucket and closes it when the test ends.
func Run(t *testing.T, open func(*testing.T) bucket.Bucket) {
	for _, c := range []struct {
		name string
		test func(*testing.T, bucket.Bucket)
	}{
		{"AnObjectIsWrittenOnceAndReadAsItWasWritten", writtenOnce},
		{"RangesOfAnObjectAreReadExactly", ranges},
		{"AnObjectIsReplacedOnlyWhereItIsTheVersionThatIsMeant", replaced},
		{"WhatIsNotThereIsNotFound", notFound},
		{"AListIsInTheOrderOfBytesFromAnyKeyOn", listed},
		{"AListOfThousandsIsWhole", manyListed},
		{"OfWritersOfOneKeyExactlyOneWins", racingCreates},
		{"OfReplacersOfOneVersionExactlyOneWins", racingReplaces},
		{"ABodyThatIsNotItsHashLeavesNothing", wrongBody},
		{"ABodyThatEndsEarlyOrFailsLeavesNothing", failingBody},
		{"WhatIsCancelledIsWholeOrNotThere", cancelled},
		{"ABodyWithAFileIsWrittenToo", fromFile},
		{"ALargeObjectIsConfirmed", large},
		{"AKeyThatIsNoneIsRefused", badKeys},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, open(t)) })
	}
}

func create(t *testing.T, b bucket.Bucket, key, content string) bucket.Info {
	t.Helper()
	info, err := b.Create(t.Context(), key, bucket.BytesBody([]byte(content)))
	if err != nil {
		t.Fatal(err)
	}
	return info
}

// read returns an object's bytes, or what went wrong.
func read(t *testing.T, b bucket.Bucket, key string, off, n int64) (string, error) {
	t.Helper()
	r, err := b.Read(t.Context(), key, off, n)
	if err != nil {
		return "", err
	}
	got, err := io.ReadAll(r)
	if cerr := r.Close(); cerr != nil {
		t.Error(cerr)
	}
	return string(got), err
}

func want(t *testing.T, b bucket.Bucket, key, content string) {
	t.Helper()
	if got, err := read(t, b, key, 0, -1); err != nil || got != content {
		t.Errorf("%s is %.40q, %v, not %.40q", key, got, err, content)
	}
}

func absent(t *testing.T, b bucket.Bucket, key string) {
	t.Helper()
	if _, err := b.Stat(t.Context(), key); !errors.Is(err, bucket.ErrNotFound) {
		t.Errorf("%s is there: %v", key, err)
	}
}

func writtenOnce(t *testing.T, b bucket.Bucket) {
	for key, content := range map[string]string{
		"-": "dash", "_/.hidden/...": "dots", strings.Repeat("k", 255) + "/" + strings.Repeat("K", 255): "long",
		"a": "one", "empty": "", "deep/er/than-that/x.1": "two", "binary": "\x00\xff\r\n\x00", "a-b_c.D": strings.Repeat("x", 100_000),
	} {
		info := create(t, b, key, content)
		if info.Size != int64(len(content)) || info.Version == "" {
			t.Errorf("%s: %+v", key, info)
		}
		want(t, b, key, content)
		if _, err := b.Create(t.Context(), key, bucket.BytesBody([]byte("another"))); !errors.Is(err, bucket.ErrExists) {
			t.Errorf("%s was created twice: %v", key, err)
		}
		want(t, b, key, content)
		stat, err := b.Stat(t.Context(), key)
		if err != nil || stat.Size != info.Size || stat.Version != info.Version || stat.Key != key {
			t.Errorf("%s: %+v, then %+v, %v", key, info, stat, err)
		}
		if err := bucket.Confirm(t.Context(), b, key, bucket.BytesBody([]byte(content))); err != nil {
			t.Error(err)
		}
		var m *bucket.MismatchError
		if err := bucket.Confirm(t.Context(), b, key, bucket.BytesBody([]byte(content+"!"))); !errors.As(err, &m) {
			t.Errorf("%s: another length was confirmed: %v", key, err)
		}
		if content != "" {
			if err := bucket.Confirm(t.Context(), b, key, bucket.BytesBody([]byte("?"+content[1:]))); !errors.As(err, &m) {
				t.Errorf("%s: other bytes were confirmed: %v", key, err)
			}
		}
	}
}

func ranges(t *testing.T, b bucket.Bucket) {
	const content = "0123456789"
	create(t, b, "digits", content)
	for _, c := range []struct {
		off, n int64
		want   string
	}{{0, 10, content}, {0, 1, "0"}, {3, 4, "3456"}, {9, 1, "9"}, {0, -1, content}, {7, -1, "789"},
		{10, -1, ""}, {0, 0, ""}, {10, 0, ""}} {
		if got, err := read(t, b, "digits", c.off, c.n); err != nil || got != c.want {
			t.Errorf("%d bytes from %d: %q, %v", c.n, c.off, got, err)
		}
	}
	for _, c := range [][2]int64{{5, 10}, {10, 1}, {20, 5}, {11, -1}} {
		if got, err := read(t, b, "digits", c[0], c[1]); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%d bytes from %d of 10: %q, %v", c[1], c[0], got, err)
		}
	}
	if _, err := read(t, b, "digits", -1, 5); err == nil {
		t.Error("bytes before the first were read")
	}
	for _, n := range []int64{-1, 0, 1} {
		if _, err := read(t, b, "nothing", 0, n); !errors.Is(err, bucket.ErrNotFound) {
			t.Errorf("%d bytes of nothing: %v", n, err)
		}
	}
}

func replaced(t *testing.T, b bucket.Bucket) {
	ctx := t.Context()
	if _, err := b.Replace(ctx, "doc", "1234", bucket.BytesBody([]byte("x"))); !errors.Is(err, bucket.ErrChanged) {
		t.Errorf("nothing was replaced: %v", err)
	}
	absent(t, b, "doc")
	first := create(t, b, "doc", "one")
	second, err := b.Replace(ctx, "doc", first.Version, bucket.BytesBody([]byte("two, longer")))
	if err != nil {
		t.Fatal(err)
	}
	if second.Version == first.Version {
		t.Error("two writes have one version")
	}
	for _, old := range []bucket.Version{first.Version, "none"} {
		if _, err := b.Replace(ctx, "doc", old, bucket.BytesBody([]byte("three"))); !errors.Is(err, bucket.ErrChanged) {
			t.Errorf("%q was replaced: %v", old, err)
		}
	}
	want(t, b, "doc", "two, longer")
	got, info, err := bucket.ReadAll(ctx, b, "doc", 100)
	if err != nil || string(got) != "two, longer" || info.Version != second.Version {
		t.Errorf("%q, %+v, %v", got, info, err)
	}
	if _, _, err := bucket.ReadAll(ctx, b, "doc", 5); err == nil {
		t.Error("more than the limit was read")
	}
	if err := b.Delete(ctx, "doc"); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Replace(ctx, "doc", second.Version, bucket.BytesBody([]byte("x"))); !errors.Is(err, bucket.ErrChanged) {
		t.Errorf("what was deleted was replaced: %v", err)
	}
	absent(t, b, "doc")
}

func notFound(t *testing.T, b bucket.Bucket) {
	ctx := t.Context()
	create(t, b, "folder/object", "x")
	for _, key := range []string{"nothing", "folder", "folder/obj", "folder/object/below", "no/folder/either"} {
		absent(t, b, key)
		if _, err := read(t, b, key, 0, -1); !errors.Is(err, bucket.ErrNotFound) {
			t.Errorf("%s: %v", key, err)
		}
		if err := b.Delete(ctx, key); err != nil {
			t.Errorf("delete %s: %v", key, err)
		}
	}
	want(t, b, "folder/object", "x")
	if err := b.Delete(ctx, "folder/object"); err != nil {
		t.Fatal(err)
	}
	absent(t, b, "folder/object")
}

func keysOf(t *testing.T, b bucket.Bucket, prefix, after string) (keys []string) {
	t.Helper()
	for info, err := range b.List(t.Context(), prefix, after) {
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, info.Key)
	}
	return keys
}

func listed(t *testing.T, b bucket.Bucket) {
	all := []string{"a", "a-b", "a.b", "a/b", "a/b-c", "a/b.d/e", "a/c", "a0", "b/1", "b/10", "b/2", "c/d/e/f"}
	for _, k := range all {
		if k == "a" { // no folder and object of one name
			continue
		}
		create(t, b, k, k)
	}
	all = all[1:]
	for _, prefix := range []string{"", "a", "a/", "a/b", "a/b.", "b/", "b/1", "c/d/", "c/d/e/f", "x", "a/b-c/"} {
		for _, after := range append([]string{"", "a/", "a/a", "b", "zz"}, all...) {
			var wanted []string
			for _, k := range all {
				if strings.HasPrefix(k, prefix) && k > after {
					wanted = append(wanted, k)
				}
			}
			if got := keysOf(t, b, prefix, after); !slices.Equal(got, wanted) {
				t.Errorf("prefix %q after %q: %q, not %q", prefix, after, got, wanted)
			}
		}
	}
	for info, err := range b.List(t.Context(), "a/b.", "") {
		if err != nil || info.Size != int64(len("a/b.d/e")) {
			t.Errorf("%+v, %v", info, err)
		}
		break
	}
}

func manyListed(t *testing.T, b bucket.Bucket) {
	const n = 2100 // pages are of 1,000
	var wanted []string
	for i := range n {
		wanted = append(wanted, fmt.Sprintf("many/%05d", i))
	}
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := w; i < n; i += 8 {
				if _, err := b.Create(t.Context(), wanted[i], bucket.BytesBody(nil)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if got := keysOf(t, b, "many/", ""); !slices.Equal(got, wanted) {
		t.Errorf("%d keys of %d", len(got), n)
	}
	if got := keysOf(t, b, "many/", wanted[999]); !slices.Equal(got, wanted[1000:]) {
		t.Errorf("%d keys of %d after the thousandth", len(got), n-1000)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var last error
	seen := 0
	for _, last = range b.List(ctx, "many/", "") {
		cancel()
		seen++
	}
	if !errors.Is(last, context.Canceled) || seen > n {
		t.Errorf("a list that was cancelled ends after %d items as if it were whole: %v", seen, last)
	}
}

func racingCreates(t *testing.T, b bucket.Bucket) {
	var won atomic.Int64
	var winner atomic.Pointer[string]
	race(func(i int) {
		content := strings.Repeat(fmt.Sprint(i), 1000)
		_, err := b.Create(t.Context(), "raced", bucket.BytesBody([]byte(content)))
		switch {
		case err == nil:
			won.Add(1)
			winner.Store(&content)
		case !errors.Is(err, bucket.ErrExists):
			t.Error(err)
		}
	})
	if won.Load() != 1 {
		t.Fatalf("%d won", won.Load())
	}
	want(t, b, "raced", *winner.Load())
}

func racingReplaces(t *testing.T, b bucket.Bucket) {
	first := create(t, b, "raced", "first")
	var won atomic.Int64
	var winner atomic.Pointer[string]
	race(func(i int) {
		content := strings.Repeat(fmt.Sprint(i), 1000)
		_, err := b.Replace(t.Context(), "raced", first.Version, bucket.BytesBody([]byte(content)))
		switch {
		case err == nil:
			won.Add(1)
			winner.Store(&content)
		case !errors.Is(err, bucket.ErrChanged):
			t.Error(err)
		}
	})
	if won.Load() != 1 {
		t.Fatalf("%d won", won.Load())
	}
	want(t, b, "raced", *winner.Load())
}

// race calls f from 32 goroutines at once.
func race(f func(int)) {
	var wg sync.WaitGroup
	begin := make(chan struct{})
	for i := range 32 {
		wg.Go(func() { <-begin; f(i) })
	}
	close(begin)
	wg.Wait()
}

func badKeys(t *testing.T, b bucket.Bucket) {
	for _, key := range []string{"", "/", "/a", "a/", "a//b", ".", "..", "../a", "a/../b", "a/./b", "a\x00b", "a b", "é", "a\\b", strings.Repeat("k", 256), strings.Repeat("k/", 300) + "k"} {
		if bucket.ValidKey(key) {
			t.Errorf("%q is valid", key)
		}
		if _, err := b.Create(t.Context(), key, bucket.BytesBody(nil)); err == nil {
			t.Errorf("%q was created", key)
		}
		if _, err := b.Stat(t.Context(), key); err == nil || errors.Is(err, bucket.ErrNotFound) {
			t.Errorf("%q: %v", key, err)
		}
	}
}
