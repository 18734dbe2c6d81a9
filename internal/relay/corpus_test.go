package relay

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/gorilla/websocket"
	"github.com/klauspost/compress/zstd"
	"go.uber.org/goleak"

	"github.com/cistern-archive/cistern/internal/config"
	"github.com/cistern-archive/cistern/internal/frame"
)

// The reference library's logger starts a goroutine when it is imported.
func TestMain(m *testing.M) {
	if cfg := os.Getenv(writerConfig); cfg != "" {
		if err := runWriter(cfg); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/ipfs/go-log/writer.(*MirrorWriter).logRoutine"))
}

const corpusDir = "../../../shared/corpus"

// unpack reads a zstd file of the corpus, or skips the test where there is none.
func unpack(t *testing.T, name string) []byte {
	t.Helper()
	f, err := os.Open(filepath.Join(corpusDir, name))
	if os.IsNotExist(err) {
		t.Skipf("the corpus of real frames is not here (%s): it holds public posts of real people and is not in the repository", corpusDir)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := zstd.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	b, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func realFrames(t *testing.T) (frames [][]byte) {
	b := unpack(t, "frames.bin.zst")
	for len(b) > 0 {
		n := binary.LittleEndian.Uint32(b)
		frames = append(frames, b[4:4+n])
		b = b[4+n:]
	}
	return frames
}

// fakeHost serves frames to whoever subscribes, and then keeps the socket open.
func fakeHost(t *testing.T, frames [][]byte) *httptest.Server {
	up := websocket.Upgrader{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, err := up.Upgrade(w, r, nil)
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		for _, f := range frames {
			if conn.WriteMessage(websocket.BinaryMessage, f) != nil {
				return
			}
		}
		for {
			if _, _, err := conn.NextReader(); err != nil {
				return
			}
		}
	}))
	t.Cleanup(func() { s.CloseClientConnections(); s.Close() })
	return s
}

// realPLC serves the accounts' documents, with the host as their PDS.
func realPLC(t *testing.T, host *atomic.Pointer[string]) *httptest.Server {
	var docs map[string]map[string]any
	if err := json.Unmarshal(unpack(t, "did_docs.json.zst"), &docs); err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		doc, ok := docs[strings.TrimPrefix(r.URL.Path, "/")]
		if !ok {
			http.NotFound(w, r)
			return
		}
		out := map[string]any{}
		for k, v := range doc {
			out[k] = v
		}
		out["service"] = []any{map[string]any{"id": "#atproto_pds", "type": "AtprotoPersonalDataServer", "serviceEndpoint": *host.Load()}}
		if err := json.NewEncoder(w).Encode(out); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(s.Close)
	return s
}

func TestRealFramesComeOutByteIdenticalApartFromSeq(t *testing.T) {
	frames := realFrames(t)
	var hostURL atomic.Pointer[string]
	plc := realPLC(t, &hostURL)
	host := fakeHost(t, frames)
	hostURL.Store(&host.URL)
	r, err := Start(t.Context(), config.Config{
		DataDir: t.TempDir(), Bind: "127.0.0.1:0", PLCHosts: []string{plc.URL}, Hosts: []string{host.URL},
	}, slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn})))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := r.Stop(); err != nil {
			t.Error(err)
		}
	}()
	conn, _, err := websocket.DefaultDialer.Dial("ws://"+r.Addr()+"/xrpc/com.atproto.sync.subscribeRepos?cursor=0", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	want := map[string][][]byte{} // per account, in order
	for _, f := range frames {
		ev, err := frame.Parse(f)
		if err != nil {
			t.Fatal(err)
		}
		want[ev.DID] = append(want[ev.DID], f)
	}
	for i := range frames {
		_, got, err := conn.ReadMessage()
		if err != nil {
			t.Fatal(err)
		}
		ev, err := frame.Parse(got)
		if err != nil {
			t.Fatal(err)
		}
		if ev.Seq != uint64(i+1) {
			t.Fatalf("seq %d at %d", ev.Seq, i)
		}
		upstream := want[ev.DID][0]
		want[ev.DID] = want[ev.DID][1:]
		original, err := frame.Parse(upstream)
		if err != nil {
			t.Fatal(err)
		}
		back, err := frame.Splice(got, original.Seq)
		if err != nil || !bytes.Equal(back, upstream) {
			t.Fatalf("frame %d of %s is not the upstream's: %v", i, ev.DID, err)
		}
	}
}
