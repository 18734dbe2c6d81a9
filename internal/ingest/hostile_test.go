package ingest

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/cistern-archive/cistern/internal/frame"
	"github.com/cistern-archive/cistern/internal/identity"
	"github.com/cistern-archive/cistern/internal/signing"
	"github.com/cistern-archive/cistern/segmentlog/dagcbor"
)

// stage is a host that plays a script to each connection.
type stage struct {
	*httptest.Server
	mu      sync.Mutex
	cursors []string // of the connections so far
	header  http.Header
}

// newStage serves play for each connection; i counts them from 0. The connection is
// closed when play returns.
func newStage(t *testing.T, play func(i int, c *websocket.Conn)) *stage {
	t.Helper()
	return newStageAt(t, "127.0.0.1:0", play)
}

// newStageAt is newStage on an address of its own.
func newStageAt(t *testing.T, addr string, play func(i int, c *websocket.Conn)) *stage {
	t.Helper()
	s := new(stage)
	up := websocket.Upgrader{CheckOrigin: func(*http.Request) bool { return true }}
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasSuffix(r.URL.Path, "subscribeRepos") {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		s.mu.Lock()
		i := len(s.cursors)
		s.cursors = append(s.cursors, r.URL.Query().Get("cursor"))
		s.mu.Unlock()
		c, err := up.Upgrade(w, r, s.header)
		if err != nil {
			return // the upgrader has answered
		}
		defer c.Close()
		play(i, c)
	}))
	s.Listener.Close()
	var err error
	if s.Listener, err = net.Listen("tcp", addr); err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(s.Close)
	return s
}

func (s *stage) name() string { return strings.TrimPrefix(s.URL, "http://") }

func (s *stage) cursor(i int) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i >= len(s.cursors) {
		return "none"
	}
	return s.cursors[i]
}

func (s *stage) connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.cursors)
}

// drain reads until the other side closes, so that a script keeps its connection.
func drain(c *websocket.Conn) {
	for {
		if _, _, err := c.NextReader(); err != nil {
			return
		}
	}
}

func send(c *websocket.Conn, frames ...[]byte) {
	for _, f := range frames {
		if err := c.WriteMessage(websocket.BinaryMessage, f); err != nil {
			return // the relay closed; the test sees what it did before
		}
	}
}

// believer is a Resolver for which every account lives on one host.
type believer struct{ host string }

func (b believer) Cached(did string) (identity.Identity, bool, error) {
	return identity.Identity{DID: did, Host: b.host}, true, nil
}
func (b believer) Lookup(_ context.Context, did string) (identity.Identity, error) {
	return identity.Identity{DID: did, Host: b.host}, nil
}
func (b believer) Refresh(ctx context.Context, did string) (identity.Identity, error) {
	return b.Lookup(ctx, did)
}
func (b believer) Announced(ctx context.Context, did string) (identity.Identity, bool, error) {
	id, err := b.Lookup(ctx, did)
	return id, false, err
}

func (b believer) PastKeys(context.Context, string, time.Time) ([]*signing.Key, error) {
	return nil, identity.ErrUnusable
}

const alice = "did:plc:ewvi7nxzyoun6zhxrhs64oiz"

func accountFrame(seq uint64) []byte {
	return frame.NewAccount(alice, time.Unix(1_700_000_000, 0), true, "").AppendFrame(nil, seq)
}

// header makes the header item of a frame.
func header(op int, t string) []byte {
	h := dagcbor.AppendHead(nil, dagcbor.MajorMap, 1)
	if t != "" {
		h = dagcbor.AppendText(dagcbor.AppendText(dagcbor.AppendHead(nil, dagcbor.MajorMap, 2), "t"), t)
	}
	h = dagcbor.AppendText(h, "op")
	if op < 0 {
		return dagcbor.AppendHead(h, dagcbor.MajorNint, uint64(-op-1))
	}
	return dagcbor.AppendUint(h, uint64(op))
}

func errorFrame(name string) []byte {
	f := dagcbor.AppendHead(header(-1, ""), dagcbor.MajorMap, 2)
	f = dagcbor.AppendText(dagcbor.AppendText(f, "error"), name)
	return dagcbor.AppendText(dagcbor.AppendText(f, "message"), "so it is")
}

func infoFrame(name string) []byte {
	f := dagcbor.AppendHead(header(1, "#info"), dagcbor.MajorMap, 1)
	return dagcbor.AppendText(dagcbor.AppendText(f, "name"), name)
}

// stageRig reads the stage with a Manager that believes it.
func stageRig(t *testing.T, s *stage, change func(*Options)) *rig {
	t.Helper()
	r := newRig(t, "http://127.0.0.1:1", &memLog{}, func(o *Options) {
		o.Resolver = believer{s.name()}
		if change != nil {
			change(o)
		}
	})
	r.addHosts(s.URL)
	return r
}

func (r *rig) hasSeqs(want ...uint64) {
	r.t.Helper()
	until(r.t, fmt.Sprintf("%d records", len(want)), func() bool { return len(r.log.all()) >= len(want) })
	var got []uint64
	for _, rec := range r.log.all() {
		got = append(got, rec.HostSeq)
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		r.t.Errorf("upstream seqs in the log: %v, want %v", got, want)
	}
}

// What must not end the connection, nor the events after it.
func TestABadFrameIsSkippedAndTheNextOnePasses(t *testing.T) {
	for reason, bad := range map[string][]byte{
		"unknown_message":        append(header(1, "#later"), 0xa0),
		"seq_not_increasing":     accountFrame(1),
		"frame_too_large":        make([]byte, maxFrame+1),
		"bad_did":                frame.NewAccount("did:plc:EWVI7NXZYOUN6ZHXRHS64OIZ", time.Unix(0, 0), true, "").AppendFrame(nil, 2),
		"unsupported_did_method": frame.NewAccount("did:key:zQ3shXjHeiBuRCKmM36cuYnm7YEMzhGnCmCyW92sRJ9pribSF", time.Unix(0, 0), true, "").AppendFrame(nil, 2),
		"trailing_bytes":         append(accountFrame(2), 0),
		"truncated":              accountFrame(2)[:60],
		"any":                    []byte("GET / HTTP/1.1\r\n\r\n"),
		"none":                   {},
	} {
		t.Run(reason, func(t *testing.T) {
			s := newStage(t, func(i int, c *websocket.Conn) {
				if i == 0 {
					send(c, accountFrame(1), bad, accountFrame(5))
				}
				drain(c)
			})
			r := stageRig(t, s, nil)
			r.hasSeqs(1, 5)
			total := 0
			for label, n := range r.rejections() {
				total += n
				if reason != "any" && reason != "none" && label != reason {
					t.Errorf("rejected as %q, want %q", label, reason)
				}
			}
			if total != 1 || s.connections() != 1 {
				t.Errorf("%d rejections on %d connections, want 1 on 1", total, s.connections())
			}
		})
	}
}

// What ends the connection, which is made again and goes on where it was.
func TestWhatEndsTheConnectionDoesNotEndTheHost(t *testing.T) {
	big := make([]byte, maxFrame+1)
	fill := func(f []byte, n int) (frames [][]byte) {
		for range n {
			frames = append(frames, f)
		}
		return frames
	}
	for name, bad := range map[string]func(c *websocket.Conn){
		"text_message":       func(c *websocket.Conn) { _ = c.WriteMessage(websocket.TextMessage, []byte("{}")) },
		"oversized":          func(c *websocket.Conn) { send(c, fill(big, maxOversized)...) },
		"seq_not_increasing": func(c *websocket.Conn) { send(c, fill(accountFrame(3), maxBackwards)...) },
		"bad_seq":            func(c *websocket.Conn) { send(c, accountFrame(0)) },
		"endless_message":    func(c *websocket.Conn) { send(c, make([]byte, maxReadAway+1)) },
		"":                   func(c *websocket.Conn) { send(c, errorFrame("ConsumerTooSlow")) },
	} {
		t.Run("by "+name, func(t *testing.T) {
			s := newStage(t, func(i int, c *websocket.Conn) {
				if i == 0 {
					send(c, accountFrame(3))
					bad(c)
				} else {
					send(c, accountFrame(9))
				}
				drain(c)
			})
			r := stageRig(t, s, nil)
			r.hasSeqs(3, 9)
			if s.cursor(0) != "0" || s.cursor(1) != "3" {
				t.Errorf("cursors %s and %s, want 0 and 3", s.cursor(0), s.cursor(1))
			}
			if name != "" && r.counters("cistern_ingest_closed_total", "reason")[name] != 1 {
				t.Errorf("closed: %v, want one of %s", r.counters("cistern_ingest_closed_total", "reason"), name)
			}
		})
	}
}

func TestAFewOversizedFramesWithGoodOnesBetweenAreBorne(t *testing.T) {
	s := newStage(t, func(i int, c *websocket.Conn) {
		for seq := uint64(1); seq <= 2*maxOversized; seq++ {
			send(c, make([]byte, maxFrame+1), accountFrame(seq))
		}
		drain(c)
	})
	r := stageRig(t, s, nil)
	until(t, "all", func() bool { return len(r.log.all()) == 2*maxOversized })
	if s.connections() != 1 {
		t.Errorf("%d connections, want 1", s.connections())
	}
}

func TestAFutureCursorIsBelievedOnlyOfACursorWeSent(t *testing.T) {
	s := newStage(t, func(i int, c *websocket.Conn) {
		switch i {
		case 0: // at cursor 0 nothing is in the future
			send(c, errorFrame("FutureCursor"))
		case 1:
			send(c, accountFrame(7), errorFrame("FutureCursor")) // not the first frame
		case 2:
			send(c, errorFrame("FutureCursor"))
		case 3:
			send(c, accountFrame(2))
		}
		drain(c)
	})
	r := stageRig(t, s, nil)
	r.hasSeqs(7, 2)
	for i, want := range []string{"0", "0", "7", "0"} {
		if s.cursor(i) != want {
			t.Errorf("connection %d had cursor %s, want %s", i, s.cursor(i), want)
		}
	}
	recs := r.log.all()
	if recs[0].HostEpoch != 0 || recs[1].HostEpoch != 1 || recs[1].HostFloor != 0 {
		t.Errorf("epochs %d and %d, floor %d", recs[0].HostEpoch, recs[1].HostEpoch, recs[1].HostFloor)
	}
}

func TestAHostThatRepeatsItselfAddsNothing(t *testing.T) {
	s := newStage(t, func(i int, c *websocket.Conn) {
		send(c, accountFrame(1), accountFrame(2), accountFrame(3)) // whatever the cursor
		if i > 0 {
			send(c, accountFrame(4))
			drain(c)
		}
	})
	r := stageRig(t, s, nil)
	r.hasSeqs(1, 2, 3, 4)
	if got := r.rejections()["duplicate"]; got != 3 {
		t.Errorf("%d duplicates, want 3", got)
	}
}

func TestAnOutdatedCursorIsCountedAsAGap(t *testing.T) {
	s := newStage(t, func(i int, c *websocket.Conn) {
		send(c, infoFrame("OutdatedCursor"), accountFrame(100))
		drain(c)
	})
	r := stageRig(t, s, nil)
	r.hasSeqs(100)
	if got := r.counters("cistern_ingest_upstream_gaps_total", "")[""]; got != 1 {
		t.Errorf("%d gaps, want 1", got)
	}
}

// anyRoom is all the memory in the world.
type anyRoom struct{}

func (anyRoom) room(context.Context, *message, int64) error { return nil }

func TestMessagesAreReadWholeAndBounded(t *testing.T) {
	for _, size := range []int{0, 1, minBuffer - 1, minBuffer, minBuffer + 1, 100_000, maxFrame - 1, maxFrame, maxFrame + 1, 3 * maxFrame} {
		m := &message{buf: make([]byte, 0, minBuffer)}
		data := bytes.Repeat([]byte{7}, size)
		rest := bytes.NewReader(data)
		fits, err := m.read(t.Context(), rest, anyRoom{})
		if err != nil || fits != (size <= maxFrame) || rest.Len() != 0 {
			t.Errorf("%d bytes: fits %v, %v, %d left unread", size, fits, err, rest.Len())
		}
		if fits && !bytes.Equal(m.buf, data) {
			t.Errorf("%d bytes: other bytes came out", size)
		}
		if cap(m.buf) > maxFrame+1 {
			t.Errorf("%d bytes: a buffer of %d", size, cap(m.buf))
		}
	}
}
