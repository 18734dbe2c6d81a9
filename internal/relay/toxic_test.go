package relay

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cistern-archive/cistern/internal/netsim"
	"github.com/cistern-archive/cistern/segmentlog/bucket/miniotest"
)

// badStore is a real MinIO that fails in any way: its disk can be full, a real toxiproxy
// stands before it, and before that a proxy that answers by itself.
//
//	relay ──► answers 500, 503 … ──► toxiproxy ──► MinIO ──► tmpfs
type badStore struct {
	*miniotest.Server
	t       *testing.T
	dir     string // of MinIO
	mounted bool   // dir is a small file system of its own
	toxi    string // the API of toxiproxy
	front   *httptest.Server
	status  atomic.Int32 // what uploads are answered with, 0 for the store's own word
	refused atomic.Int64
}

// ramDisk is the size of MinIO's file system in the short form, in bytes.
const ramDisk = 256 << 20

func startBadStore(t *testing.T) *badStore {
	t.Helper()
	b := &badStore{t: t, dir: t.TempDir()}
	size := scaled(t, ramDisk)
	if err := syscall.Mount("tmpfs", b.dir, "tmpfs", 0, fmt.Sprintf("size=%d", min(size, 12<<30))); err == nil {
		b.mounted = true
		t.Cleanup(func() {
			if err := syscall.Unmount(b.dir, syscall.MNT_DETACH); err != nil {
				t.Error(err)
			}
		})
	} else {
		t.Logf("MinIO's disk is not filled: %v", err)
	}
	b.Server = miniotest.StartIn(t, b.dir)
	b.startToxiproxy()
	b.startFront()
	return b
}

// startToxiproxy puts toxiproxy before MinIO; b.toxi then names its only proxy.
func (b *badStore) startToxiproxy() {
	program := os.Getenv("CISTERN_TOXIPROXY")
	if program == "" {
		if os.Getenv("CI") != "" {
			b.t.Fatal("CISTERN_TOXIPROXY is not set: run the tests with make")
		}
		b.t.Skip("CISTERN_TOXIPROXY is not set: `make test` runs this with a real one")
	}
	api, err := netsim.FreeAddr()
	if err != nil {
		b.t.Fatal(err)
	}
	host, port, _ := bytes.Cut([]byte(api), []byte(":"))
	cmd := exec.Command(program, "-host", string(host), "-port", string(port))
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() {
		_ = cmd.Process.Kill() // its end says nothing
		_ = cmd.Wait()
	})
	b.toxi = "http://" + api
	until(b.t, "toxiproxy to answer", func() bool { return b.ask(http.MethodGet, "/version", nil) == nil })
}

// ask asks toxiproxy's API.
func (b *badStore) ask(method, path string, body any) error {
	content, err := json.Marshal(body)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(b.t.Context(), method, b.toxi+path, bytes.NewReader(content))
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode >= http.StatusBadRequest {
		return fmt.Errorf("%s %s: HTTP %s", method, path, resp.Status)
	}
	return nil
}

// must is ask for what cannot fail.
func (b *badStore) must(method, path string, body any) {
	b.t.Helper()
	if err := b.ask(method, path, body); err != nil {
		b.t.Fatal(err)
	}
}

// startFront puts the proxy that answers by itself before toxiproxy.
func (b *badStore) startFront() {
	listen, err := netsim.FreeAddr()
	if err != nil {
		b.t.Fatal(err)
	}
	b.must(http.MethodPost, "/proxies", map[string]any{"name": "minio", "listen": listen, "upstream": b.Addr, "enabled": true})
	transport := &http.Transport{}
	b.t.Cleanup(transport.CloseIdleConnections)
	proxy := &httputil.ReverseProxy{Transport: transport, Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(&url.URL{Scheme: "http", Host: listen})
		r.Out.Host = r.In.Host // it is signed
	}, ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) }} // cut as the connection behind it was
	b.front = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if status := int(b.status.Load()); status != 0 && r.Method == http.MethodPut {
			b.refused.Add(1)
			w.WriteHeader(status)
			return
		}
		proxy.ServeHTTP(w, r)
	}))
	b.t.Cleanup(b.front.Close)
}

// archive is the store's URL for the relay.
func (b *badStore) archive() string { return b.URLAt(b.front.URL, "log") }

// toxic is a fault of the connection to the store, from the side of the relay.
func (b *badStore) toxic(kind string, attributes map[string]any) (heal func()) {
	b.must(http.MethodPost, "/proxies/minio/toxics", map[string]any{
		"name": "bad", "type": kind, "stream": "upstream", "toxicity": 1, "attributes": attributes,
	})
	return func() { b.must(http.MethodDelete, "/proxies/minio/toxics/bad", nil) }
}

// fill leaves no room on MinIO's disk.
func (b *badStore) fill() (empty func()) {
	ballast := filepath.Join(b.dir, "ballast")
	f, err := os.Create(ballast)
	if err != nil {
		b.t.Fatal(err)
	}
	for tries := 0; ; tries++ { // uploads take some of it meanwhile
		var st syscall.Statfs_t
		if err = syscall.Statfs(b.dir, &st); err == nil {
			err = syscall.Fallocate(int(f.Fd()), 0, 0, (int64(st.Bavail)-int64(st.Blocks)/200)*st.Bsize) // MinIO wants 1 % to be free
		}
		if !errors.Is(err, syscall.ENOSPC) || tries == 10 {
			break
		}
	}
	if cerr := f.Close(); err != nil || cerr != nil {
		b.t.Fatal(err, cerr)
	}
	return func() {
		if err := os.Remove(ballast); err != nil {
			b.t.Error(err)
		}
	}
}
