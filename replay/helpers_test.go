package replay

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/cistern-archive/cistern/segmentlog"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// seed returns the test's seed, printed so that a failure can be run again with
// CISTERN_SEED.
func seed(t testing.TB) uint64 {
	s := rand.Uint64()
	if v := os.Getenv("CISTERN_SEED"); v != "" {
		n, err := strconv.ParseUint(v, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		s = n
	}
	t.Logf("CISTERN_SEED=%d", s)
	return s
}

// rig is a log, its ring, a server over them and the truth: the bytes that a
// consumer from 0 must get.
type rig struct {
	t    testing.TB
	log  *segmentlog.Log
	ring *Ring
	src  Source
	// suppressed follows the log where it is set.
	suppressed *Suppressed
	srv        *Server
	http       *httptest.Server

	mu    sync.Mutex
	cond  sync.Cond
	wire  []byte   // of every durable event
	ends  []int    // ends[i]: of event i in wire
	seqs  []uint64 // of event i
	next  int
	clean bool
}

func newRig(t testing.TB, ringBytes int, tune func(*Options)) *rig {
	g := &rig{t: t}
	g.cond.L = &g.mu
	g.open(t.TempDir(), ringBytes, tune)
	t.Cleanup(g.close)
	return g
}

func (g *rig) open(dir string, ringBytes int, tune func(*Options)) {
	quiet := slog.New(slog.DiscardHandler)
	log, err := segmentlog.Open(segmentlog.Options{Dir: dir, Logger: quiet, MaxHotBytes: 1 << 20, OnCommit: func(b segmentlog.Batch) {
		if g.suppressed != nil {
			g.suppressed.Follow(b)
		}
		g.ring.Publish(b)
		g.record(b)
	}})
	if err != nil {
		g.t.Fatal(err)
	}
	g.log, g.ring = log, NewRing(ringBytes, log.Tip())
	g.src = Source{Log: log, Ring: g.ring, Blocks: NewBlocks(log, 0)}
	o := Options{Source: g.src, Suppressed: g.suppressed, Logger: quiet, ServerHeader: "test"}
	if tune != nil {
		tune(&o)
	}
	g.srv = NewServer(o)
	g.http = httptest.NewServer(g.srv)
}

func (g *rig) close() {
	if g.clean {
		return
	}
	g.clean = true
	if err := g.log.Close(); err != nil {
		g.t.Error(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	g.srv.Shutdown(ctx)
	g.http.Close()
	g.src.Blocks.Close()
	g.ring.Close()
}

func (g *rig) record(b segmentlog.Batch) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for i := range b.Len() {
		g.wire = appendFrame(g.wire, opBinary, b.Frame(i))
		g.ends = append(g.ends, len(g.wire))
		g.seqs = append(g.seqs, b.Seq(i))
	}
	g.cond.Broadcast()
}

// append adds n events with bodies of about size bytes.
func (g *rig) append(n, size int) {
	for range n {
		body := bytes.Repeat([]byte{byte(g.next)}, size/2+g.next%size)
		_, err := g.log.Append(context.Background(), &segmentlog.Entry{
			DID: "did:plc:x", Host: "h", HostSeq: uint64(g.next), Head: fmt.Appendf(nil, "%d ", g.next), Tail: body,
		})
		if err != nil {
			g.t.Error(err)
			return
		}
		g.next++
	}
}

// waitFor returns when n events are durable.
func (g *rig) waitFor(n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for len(g.seqs) < n {
		g.cond.Wait()
	}
}

// from returns the bytes that a consumer with this cursor must get up to event
// number total.
func (g *rig) from(cursor uint64, total int) []byte {
	g.mu.Lock()
	defer g.mu.Unlock()
	start := 0
	for i, s := range g.seqs[:total] {
		if s > cursor {
			break
		}
		start = g.ends[i]
	}
	return g.wire[start:g.ends[total-1]]
}

// rawConsumer is a consumer that looks at the bytes of the socket.
type rawConsumer struct {
	conn net.Conn
	r    *bufio.Reader
	resp *http.Response
}

// dial connects and shakes hands; query is the part of the URL behind "?".
func (g *rig) dial(query string) *rawConsumer {
	g.t.Helper()
	conn, err := net.Dial("tcp", g.http.Listener.Addr().String())
	if err != nil {
		g.t.Fatal(err)
	}
	fmt.Fprintf(conn, "GET /xrpc/com.atproto.sync.subscribeRepos?%s HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n"+
		"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AQIDBAUGBwgJCgsMDQ4PEA==\r\n\r\n", query)
	c := &rawConsumer{conn: conn, r: bufio.NewReaderSize(conn, 64<<10)}
	if c.resp, err = http.ReadResponse(c.r, nil); err != nil {
		g.t.Fatal(err)
	}
	return c
}

// expect reads len(want) bytes and compares them.
func (c *rawConsumer) expect(want []byte) error {
	buf := make([]byte, 256<<10)
	for off := 0; off < len(want); {
		n, err := c.r.Read(buf[:min(len(buf), len(want)-off)])
		if !bytes.Equal(buf[:n], want[off:off+n]) {
			return fmt.Errorf("byte %d of %d differs: %x, want %x", off, len(want), buf[:min(n, 40)], want[off:off+min(n, 40)])
		}
		off += n
		if err != nil {
			return fmt.Errorf("after %d of %d bytes: %w", off, len(want), err)
		}
	}
	return nil
}

// frame reads one small server frame.
func (c *rawConsumer) frame() (opcode byte, payload []byte, err error) {
	head := make([]byte, 2)
	if _, err := io.ReadFull(c.r, head); err != nil {
		return 0, nil, err
	}
	n := int(head[1])
	if n == 126 {
		ext := make([]byte, 2)
		if _, err := io.ReadFull(c.r, ext); err != nil {
			return 0, nil, err
		}
		n = int(ext[0])<<8 | int(ext[1])
	}
	payload = make([]byte, n)
	_, err = io.ReadFull(c.r, payload)
	return head[0] & 0xf, payload, err
}

// send writes a masked control frame.
func (c *rawConsumer) send(opcode byte, payload string) error {
	b := []byte{0x80 | opcode, 0x80 | byte(len(payload)), 0, 0, 0, 0}
	_, err := c.conn.Write(append(b, payload...))
	return err
}

// count is how many connections are counted.
func (s *Server) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.entered
}
