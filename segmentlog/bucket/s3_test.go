package bucket_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cistern-archive/cistern/segmentlog/bucket"
	"github.com/cistern-archive/cistern/segmentlog/bucket/buckettest"
	"github.com/cistern-archive/cistern/segmentlog/bucket/miniotest"
)

func openURL(t *testing.T, url string) bucket.Bucket {
	t.Helper()
	b, err := bucket.Open(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

func TestAStoreThatSpeaksS3IsABucket(t *testing.T) {
	s := miniotest.Start(t)
	n := 0
	for _, how := range []string{"", "&checksums=off"} {
		buckettest.Run(t, func(t *testing.T) bucket.Bucket {
			n++
			return openURL(t, s.URL(fmt.Sprintf("a/prefix-%d", n))+how)
		})
	}
}

func TestAStoreIsProbedForWhatAnArchiveNeeds(t *testing.T) {
	s := miniotest.Start(t)
	if err := bucket.Probe(t.Context(), openURL(t, s.URL("p"))); err != nil {
		t.Error(err)
	}
	if err := bucket.Probe(t.Context(), openDir(t, t.TempDir())); err != nil {
		t.Error(err)
	}
}

// careless writes whatever the condition, as stores did before they had any.
type careless struct {
	bucket.Bucket
	creates, replaces bool
}

func (c careless) Create(ctx context.Context, key string, body bucket.Body) (bucket.Info, error) {
	info, err := c.Bucket.Create(ctx, key, body)
	if c.creates && errors.Is(err, bucket.ErrExists) {
		return c.overwrite(ctx, key, body)
	}
	return info, err
}

func (c careless) Replace(ctx context.Context, key string, old bucket.Version, body bucket.Body) (bucket.Info, error) {
	info, err := c.Bucket.Replace(ctx, key, old, body)
	if c.replaces && errors.Is(err, bucket.ErrChanged) {
		return c.overwrite(ctx, key, body)
	}
	return info, err
}

func (c careless) overwrite(ctx context.Context, key string, body bucket.Body) (bucket.Info, error) {
	now, err := c.Stat(ctx, key)
	if err != nil {
		return now, err
	}
	return c.Bucket.Replace(ctx, key, now.Version, body)
}

func TestAStoreThatIgnoresAConditionIsUnfit(t *testing.T) {
	d := openDir(t, t.TempDir())
	for b, want := range map[bucket.Bucket]string{
		careless{Bucket: d, creates: true}: "If-None-Match", careless{Bucket: d, replaces: true}: "If-Match",
	} {
		if err := bucket.Probe(t.Context(), b); !errors.Is(err, bucket.ErrUnfit) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s ignored: %v", want, err)
		}
	}
	for info, err := range d.List(t.Context(), "", "") {
		t.Errorf("a probe left %s, %v", info.Key, err)
	}
}

func TestAConditionThatIsLostOnTheWayMakesAStoreUnfit(t *testing.T) {
	s := miniotest.Start(t)
	p := newProxy(t, s)
	through, straight := openURL(t, s.URLAt(p.URL, "p")), openURL(t, s.URL("p"))
	for _, header := range []string{"If-None-Match", "If-Match"} {
		before := p.hits.Load()
		// A header is signed and cannot be taken away: what it forbids is made to hold.
		p.breakWith(func(_ http.ResponseWriter, r *http.Request) bool {
			key := strings.TrimPrefix(r.URL.Path, "/"+miniotest.Bucket+"/p/")
			if r.Method != http.MethodPut || r.Header.Get(header) == "" {
				return false
			}
			p.hits.Add(1)
			if err := straight.Delete(r.Context(), key); err != nil {
				t.Error(err)
			}
			if header == "If-Match" { // and the ETag is that of the content
				was, err := straight.Create(r.Context(), key, bucket.BytesBody([]byte("first")))
				if err != nil || strings.Trim(r.Header.Get(header), `"`) != string(was.Version) {
					t.Errorf("%s: %+v, %v", r.Header.Get(header), was, err)
				}
			}
			return false
		})
		if err := bucket.Probe(t.Context(), through); !errors.Is(err, bucket.ErrUnfit) || !strings.Contains(err.Error(), "("+header) {
			t.Errorf("%s lost: %v", header, err)
		}
		if p.hits.Load() < before+2 {
			t.Errorf("%s: %d were lost", header, p.hits.Load()-before)
		}
	}
	p.breakWith(nil)
	if err := bucket.Probe(t.Context(), through); err != nil {
		t.Error(err)
	}
	for info, err := range straight.List(t.Context(), "", "") {
		t.Errorf("a probe left %s, %v", info.Key, err)
	}
}

func TestAStoreThatRefusesSaysWhatToDo(t *testing.T) {
	s := miniotest.Start(t)
	if _, err := bucket.Open(t.Context(), strings.Replace(s.URL("p"), "archive/", "nothing/", 1)); !errors.Is(err, bucket.ErrRefused) || !strings.Contains(err.Error(), "no such bucket") {
		t.Errorf("a bucket that is not there: %v", err)
	}
	t.Setenv("AWS_SECRET_ACCESS_KEY", "wrong")
	if _, err := bucket.Open(t.Context(), s.URL("p")); !errors.Is(err, bucket.ErrRefused) {
		t.Errorf("wrong credentials: %v", err)
	}
}

// proxy stands before a server and does to requests what a test wants.
type proxy struct {
	URL string

	mu     sync.Mutex
	answer func(w http.ResponseWriter, r *http.Request) bool // says whether it answered
	hits   atomic.Int64
}

func newProxy(t *testing.T, s *miniotest.Server) *proxy {
	t.Helper()
	p := &proxy{}
	to, err := url.Parse("http://" + s.Addr)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{}
	rp := &httputil.ReverseProxy{Transport: transport, Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(to)
		r.Out.Host = r.In.Host // it is signed
	}, ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) }}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		answer := p.answer
		p.mu.Unlock()
		if answer != nil && answer(w, r) {
			p.hits.Add(1)
			return
		}
		rp.ServeHTTP(w, r)
	})}
	served := make(chan struct{})
	go func() { defer close(served); _ = server.Serve(l) }()
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
		<-served
		transport.CloseIdleConnections()
	})
	p.URL = "http://" + l.Addr().String()
	return p
}

func (p *proxy) breakWith(f func(w http.ResponseWriter, r *http.Request) bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answer = f
}

func TestAnUploadThatIsBrokenOffIsWholeOrNotThere(t *testing.T) {
	s := miniotest.Start(t)
	p := newProxy(t, s)
	through, straight := openURL(t, s.URLAt(p.URL, "p")), openURL(t, s.URL("p"))
	content := bytes.Repeat([]byte("0123456789abcdef"), 1<<18)
	for name, c := range map[string]struct {
		answer func(w http.ResponseWriter, r *http.Request) bool
		kind   string
	}{
		"500": {status(http.StatusInternalServerError), "unavailable"},
		"503": {status(http.StatusServiceUnavailable), "unavailable"},
		"507": {status(http.StatusInsufficientStorage), "full"},
		"403": {status(http.StatusForbidden), "refused"},
		"cut": {func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method != http.MethodPut {
				return false
			}
			_, _ = r.Body.Read(make([]byte, 100_000)) // some of it
			p.hits.Add(1)
			panic(http.ErrAbortHandler)
		}, "unavailable"},
	} {
		p.breakWith(c.answer)
		before := p.hits.Load()
		body := bucket.BytesBody(content)
		_, err := through.Create(t.Context(), "broken/"+name, body)
		if kind := bucket.KindOf(err); kind != c.kind {
			t.Errorf("%s: %q: %v", name, kind, err)
		}
		if p.hits.Load() == before {
			t.Errorf("%s was not felt", name)
		}
		if _, err := straight.Stat(t.Context(), "broken/"+name); !errors.Is(err, bucket.ErrNotFound) {
			t.Errorf("%s: something is there: %v", name, err)
		}
		p.breakWith(nil)
		if _, err := through.Create(t.Context(), "broken/"+name, body); err != nil {
			t.Errorf("after %s: %v", name, err)
		}
		if err := bucket.Confirm(t.Context(), straight, "broken/"+name, body); err != nil {
			t.Error(err)
		}
	}
}

func TestAReadThatIsBrokenOffIsAnErrorAndUnavailable(t *testing.T) {
	s := miniotest.Start(t)
	p := newProxy(t, s)
	b := openURL(t, s.URLAt(p.URL, "p"))
	if _, err := b.Create(t.Context(), "x", bucket.BytesBody(make([]byte, 1000))); err != nil {
		t.Fatal(err)
	}
	for what, cut := range map[string]func(w http.ResponseWriter){
		"before the answer": func(http.ResponseWriter) {},
		"in the body": func(w http.ResponseWriter) {
			w.Header().Set("Content-Length", "1000")
			w.Header().Set("Last-Modified", time.Now().UTC().Format(http.TimeFormat))
			w.Header().Set("ETag", `"x"`)
			_, _ = w.Write(make([]byte, 500))
			_ = http.NewResponseController(w).Flush() // the client has seen it when the cut comes
		},
	} {
		before := p.hits.Load()
		p.breakWith(func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method != http.MethodGet {
				return false
			}
			cut(w)
			p.hits.Add(1)
			panic(http.ErrAbortHandler)
		})
		for _, n := range []int64{-1, 1000} {
			r, err := b.Read(t.Context(), "x", 0, n)
			if err == nil {
				_, err = io.ReadAll(r)
				err = errors.Join(err, r.Close())
			}
			if bucket.KindOf(err) != "unavailable" {
				t.Errorf("%d bytes, cut %s: %q: %v", n, what, bucket.KindOf(err), err)
			}
		}
		if p.hits.Load() < before+2 { // HTTP may ask again over a new connection
			t.Errorf("cut %s: %d were felt", what, p.hits.Load()-before)
		}
	}
}

func status(code int) func(w http.ResponseWriter, r *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodPut {
			return false
		}
		w.WriteHeader(code)
		return true
	}
}

func TestAServerThatIsKilledKeepsWhatItConfirmedAndNothingHalf(t *testing.T) {
	s := miniotest.Start(t)
	b := openURL(t, s.URL("p"))
	content := bytes.Repeat([]byte("0123456789abcdef"), 1<<20)
	body := bucket.BytesBody(content)
	if _, err := b.Create(t.Context(), "kept", body); err != nil {
		t.Fatal(err)
	}
	killing := body
	killing.Bytes = &killer{bytes.NewReader(content), int64(len(content) / 2), s.Kill}
	_, err := b.Create(t.Context(), "killed", killing)
	if kind := bucket.KindOf(err); err == nil || kind == "exists" || kind == "not_found" {
		t.Errorf("%q: %v", kind, err)
	}
	if _, err := b.Stat(t.Context(), "kept"); bucket.KindOf(err) != "unavailable" {
		t.Errorf("nobody answers: %q, %v", bucket.KindOf(err), err)
	}
	s.Restart()
	if err := bucket.Confirm(t.Context(), b, "kept", body); err != nil {
		t.Error(err)
	}
	if _, err := b.Stat(t.Context(), "killed"); !errors.Is(err, bucket.ErrNotFound) {
		t.Errorf("half an object: %v", err)
	}
	if _, err := b.Create(t.Context(), "killed", body); err != nil {
		t.Error(err)
	}
}

// killer calls kill when it is read beyond a place.
type killer struct {
	*bytes.Reader
	at   int64
	kill func()
}

func (k *killer) ReadAt(p []byte, off int64) (int, error) {
	if off > k.at {
		k.kill()
	}
	return k.Reader.ReadAt(p, off)
}

func TestAServerThatSaysNothingIsATimeout(t *testing.T) {
	s := miniotest.Start(t)
	b, err := bucket.OpenS3(t.Context(), bucket.S3Options{
		Endpoint: s.Addr, Insecure: true, Region: "us-east-1", Bucket: miniotest.Bucket, PathStyle: true, Stall: 2 * time.Second,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	s.Pause()
	defer s.Resume()
	if _, err := b.Stat(t.Context(), "x"); bucket.KindOf(err) != "timeout" {
		t.Errorf("%q: %v", bucket.KindOf(err), err)
	}
	// An upload ends by its own timeout, or because its connection ended by one.
	_, err = b.Create(t.Context(), "x", bucket.BytesBody(make([]byte, 8<<20)))
	if kind := bucket.KindOf(err); kind != "timeout" && kind != "unavailable" {
		t.Errorf("%q: %v", kind, err)
	}
}
