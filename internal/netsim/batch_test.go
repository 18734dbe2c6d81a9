package netsim

import (
	"errors"
	"net"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

var errCut = errors.New("cut")

// shortConn takes so many bytes and then fails, as a connection does that is cut while
// a batch is written.
type shortConn struct {
	net.Conn
	room int
}

func (c *shortConn) Write(b []byte) (int, error) {
	if len(b) <= c.room {
		c.room -= len(b)
		return len(b), nil
	}
	n := c.room
	c.room = 0
	return n, errCut
}

func (c *shortConn) SetWriteDeadline(time.Time) error { return nil }
func (c *shortConn) Close() error                     { return nil }

func TestWhatWasWrittenOfABatchThatWasCutCountsAsSent(t *testing.T) {
	n := online(t, Options{Seed: 5, Accounts: 2, Records: 5})
	step(t, n, 3)
	h := n.Host(0)
	big := make([]byte, 1<<16) // a head of another length
	if _, err := h.EmitFrame(big, Accept, 0); err != nil {
		t.Fatal(err)
	}
	step(t, n, 2)
	total := 0
	var ends []int // of the messages
	for i, e := range h.log {
		frame, err := n.Frame(i)
		if err != nil || len(frame) != e.length {
			t.Fatalf("event %d: %d bytes, %v", i, len(frame), err)
		}
		total += len(appendFrameHead(nil, websocket.BinaryMessage, len(frame))) + len(frame)
		ends = append(ends, total)
	}
	for room := 0; room < total; room += 1 + room/1000 {
		for _, e := range h.log {
			e.sent.Store(0)
		}
		s := &subscriber{host: h, conn: &shortConn{room: room}}
		h.conns.Add(1)
		s.run(nil, true)
		for i, e := range h.log {
			if got, want := e.sent.Load() > 0, ends[i] <= room; got != want {
				t.Fatalf("%d bytes written, event %d ends at %d: sent is %v", room, i, ends[i], got)
			}
		}
	}
}
