package archive

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestSegmentsAreReadOverHTTP(t *testing.T) {
	s := theSample(t)
	srv := httptest.NewServer(http.FileServer(http.Dir(s.dir)))
	defer srv.Close()
	var urls []string
	for _, f := range s.files {
		urls = append(urls, srv.URL+"/"+filepath.Base(f)+"?token=x")
	}
	src := find(t, urls...)
	if r := mustVerify(t, src, VerifyOptions{Signatures: true}); !r.OK() || r.Records != uint64(len(s.frames)) {
		t.Fatalf("%+v", r)
	}
	if !bytes.Equal(cat(t, src, CatOptions{}), cat(t, find(t, s.dir), CatOptions{})) {
		t.Fatal("events differ")
	}
	if p, err := Prove(context.Background(), src, 3); err != nil || p.Check(Evidence{}) != nil {
		t.Fatal(err)
	}
}

// object serves one file, with an ETag when there is one.
type object struct {
	body  atomic.Pointer[[]byte]
	etag  atomic.Pointer[string]
	serve func(w http.ResponseWriter, r *http.Request) bool // true when it has answered
	n     atomic.Int64
}

func (o *object) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	o.n.Add(1)
	if o.serve != nil && o.serve(w, r) {
		return
	}
	if tag := o.etag.Load(); tag != nil {
		w.Header().Set("ETag", *tag)
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(*o.body.Load()))
}

// bigObject is a segment longer than what its opening reads.
func bigObject(t *testing.T) (*object, []byte) {
	var all []byte
	s := theSample(t)
	for _, f := range s.files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if len(b) > len(all) {
			all = b
		}
	}
	o := &object{}
	o.body.Store(&all)
	return o, all
}

func TestAnObjectThatChangesIsAnError(t *testing.T) {
	o, body := bigObject(t)
	one, two := `"one"`, `"two"`
	o.etag.Store(&one)
	srv := httptest.NewServer(o)
	defer srv.Close()
	r, err := openRemote(context.Background(), srv.Client(), srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	r.tailAt = r.size // nothing is remembered
	b := make([]byte, 1000)
	if n, err := r.ReadAt(b, 500); n != 1000 || err != nil || !bytes.Equal(b, body[500:1500]) {
		t.Fatal(n, err)
	}
	o.etag.Store(&two)
	if _, err := r.ReadAt(b, 500); !errors.Is(err, ErrChanged) {
		t.Fatal(err)
	}
	o.etag.Store(nil)
	if _, err := r.ReadAt(b, 500); !errors.Is(err, ErrChanged) {
		t.Fatal(err)
	}
	// Without an identity, the length still is one.
	r.pin = ""
	longer := append(bytes.Clone(body), 0)
	o.body.Store(&longer)
	if _, err := r.ReadAt(b, 500); !errors.Is(err, ErrChanged) {
		t.Fatal(err)
	}
}

func TestWhatServersDoWrongIsAnErrorThatSaysSo(t *testing.T) {
	for what, c := range map[string]struct {
		serve func(w http.ResponseWriter, r *http.Request) bool
		want  string
	}{
		"no ranges": {func(w http.ResponseWriter, _ *http.Request) bool { _, _ = w.Write([]byte("x")); return true }, "download"},
		"not found": {func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(http.StatusNotFound); return true }, "404"},
		"no length": {func(w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("Content-Range", "bytes 0-9/*")
			w.WriteHeader(http.StatusPartialContent)
			return true
		}, "Content-Range"},
		"another range": {func(w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("Content-Range", "bytes 0-9/1000000000000")
			w.WriteHeader(http.StatusPartialContent)
			return true
		}, "Content-Range"},
		"cut short": {func(w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("Content-Range", "bytes 0-9/10")
			w.WriteHeader(http.StatusPartialContent)
			_, _ = w.Write([]byte("abc"))
			return true
		}, "EOF"},
	} {
		o, _ := bigObject(t)
		o.serve = c.serve
		srv := httptest.NewServer(o)
		_, err := Find(context.Background(), srv.Client(), []string{srv.URL + "/x.cbor.zst"})
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), srv.URL) {
			t.Errorf("%s: %v", what, err)
		}
		srv.Close()
	}
}

func TestOpeningASmallObjectIsOneRequest(t *testing.T) {
	o, _ := bigObject(t)
	srv := httptest.NewServer(o)
	defer srv.Close()
	seg, err := open(context.Background(), srv.Client(), srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer seg.Close()
	if n := o.n.Load(); n != 1 {
		t.Fatalf("%d requests", n)
	}
}

// FuzzContentRange reads what servers answer.
func FuzzContentRange(f *testing.F) {
	f.Add("bytes 0-9/10")
	f.Add("bytes 9223372036854775807-9223372036854775808/18446744073709551615")
	f.Fuzz(func(t *testing.T, s string) {
		from, to, size, err := contentRange(s)
		if err == nil && (from < 0 || to < from || size <= to) {
			t.Fatalf("%q is %d to %d of %d", s, from, to, size)
		}
	})
}
