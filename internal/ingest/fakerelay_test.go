package ingest

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/gorilla/websocket"

	"github.com/cistern-archive/cistern/internal/frame"
	"github.com/cistern-archive/cistern/internal/netsim"
)

// fakeRelay is a relay that sends what it is told to, in the order of its numbers.
type fakeRelay struct {
	*httptest.Server
	name string

	stream  string // that it says it is of
	mu      sync.Mutex
	grown   sync.Cond
	seqs    []uint64
	frames  [][]byte
	asked   []uint64                   // cursors, in the order of the connections
	hello   func(cursor uint64) []byte // sent first; nil for nothing
	start   func(cursor uint64) int    // index of the first frame that is sent; nil for the one after the cursor
	live    int                        // connections without a cursor
	closing bool
}

func newFakeRelay(t *testing.T) *fakeRelay {
	f := &fakeRelay{}
	f.grown.L = &f.mu
	f.Server = httptest.NewServer(http.HandlerFunc(f.serve))
	f.name = strings.TrimPrefix(f.URL, "http://")
	t.Cleanup(func() {
		f.mu.Lock()
		f.closing = true
		f.grown.Broadcast()
		f.mu.Unlock()
		f.Close()
	})
	return f
}

func (f *fakeRelay) serve(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	header := http.Header{}
	if f.stream != "" {
		header.Set(streamHeader, f.stream)
	}
	f.mu.Unlock()
	conn, err := (&websocket.Upgrader{}).Upgrade(w, r, header)
	if err != nil {
		return
	}
	defer conn.Close()
	gone := make(chan struct{})
	go func() { // what the reader answers does not matter, that it is there does
		defer close(gone)
		for {
			if _, _, err := conn.ReadMessage(); err != nil {
				f.mu.Lock()
				f.grown.Broadcast()
				f.mu.Unlock()
				return
			}
		}
	}()
	defer func() { conn.Close(); <-gone }()
	next := f.begin(conn, r)
	for next >= 0 {
		f.mu.Lock()
		for next >= len(f.frames) && !f.closing && !closed(gone) {
			f.grown.Wait()
		}
		if f.closing || closed(gone) {
			f.mu.Unlock()
			return
		}
		b := f.frames[next]
		f.mu.Unlock()
		if conn.WriteMessage(websocket.BinaryMessage, b) != nil {
			return
		}
		next++
	}
}

func closed(c chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func (f *fakeRelay) begin(conn *websocket.Conn, r *http.Request) (next int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !r.URL.Query().Has("cursor") {
		f.live++
		return len(f.frames)
	}
	cursor, _ := strconv.ParseUint(r.URL.Query().Get("cursor"), 10, 64)
	f.asked = append(f.asked, cursor)
	if f.hello != nil {
		if b := f.hello(cursor); b != nil && conn.WriteMessage(websocket.BinaryMessage, b) != nil {
			return -1
		}
	}
	if f.start != nil {
		return f.start(cursor)
	}
	for next < len(f.seqs) && f.seqs[next] <= cursor {
		next++
	}
	return next
}

// send adds a frame of a host under a number.
func (f *fakeRelay) send(t *testing.T, seq uint64, raw []byte) {
	t.Helper()
	ev, err := frame.Parse(bytes.Clone(raw))
	if err != nil {
		t.Fatal(err)
	}
	f.sendRaw(seq, ev.AppendFrame(nil, seq))
}

func (f *fakeRelay) sendRaw(seq uint64, raw []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.seqs, f.frames = append(f.seqs, seq), append(f.frames, raw)
	f.grown.Broadcast()
}

func (f *fakeRelay) connections() []uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.asked[:len(f.asked):len(f.asked)]
}

func (f *fakeRelay) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

// hostFrames makes honest events of a network of one host.
func hostFrames(t *testing.T, n *netsim.Network, count int) (frames [][]byte) {
	t.Helper()
	at := n.Len()
	steps(t, n, count) // some make more events than one
	for i := at; i < at+count; i++ {
		raw, err := n.Frame(i)
		if err != nil {
			t.Fatal(err)
		}
		frames = append(frames, raw)
	}
	return frames
}

func (r *rig) logged(n int) {
	r.t.Helper()
	until(r.t, fmt.Sprintf("%d events in the log", n), func() bool { return len(r.log.all()) >= n })
}

// same fails unless the log has the relay's frames from an index on, byte for byte, and
// nothing else.
func (r *rig) same(f *fakeRelay, from int) {
	r.t.Helper()
	all := r.log.all()
	f.mu.Lock()
	defer f.mu.Unlock()
	if want := len(f.frames) - from; len(all) != want {
		r.t.Fatalf("%d events in the log, want %d", len(all), want)
	}
	for i, rec := range all {
		if rec.Seq != f.seqs[from+i] || !bytes.Equal(rec.Frame, f.frames[from+i]) {
			r.t.Fatalf("event %d has seq %d, want %d, or other bytes", i, rec.Seq, f.seqs[from+i])
		}
	}
}
