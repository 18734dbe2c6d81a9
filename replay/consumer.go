package replay

import (
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
)

// Close codes (RFC 6455, section 7.4; 1012 of its registry). Never 1000: clients
// take that as final and do not come back.
const (
	closePolicy         = 1008
	closeInternal       = 1011
	closeServiceRestart = 1012
)

// Why a connection ended, as the label of a metric and in the log.
const (
	reasonLeft     = "left"
	reasonRefused  = "refused"
	reasonSilent   = "silent"
	reasonStalled  = "stalled"
	reasonShutdown = "shutdown"
	reasonFailed   = "read_failed"
)

// consumer is one connection. Its serve goroutine alone writes to the socket;
// another one reads, since a WebSocket peer may ping and close.
type consumer struct {
	server *Server
	conn   *websocket.Conn
	raw    net.Conn
	reader *Reader
	remote string
	agent  string
	since  time.Time

	heard    atomic.Int64  // last byte received, or event accepted, Unix ns
	position atomic.Uint64 // of the last event written
	events   atomic.Uint64
	tier     atomic.Uint32

	closeCode atomic.Uint32 // of the peer's close frame, 0 for none

	control chan []byte   // frames to send for what the peer sent: pongs
	gone    chan struct{} // closed when the peer closed or the socket failed
	scratch []byte
}

func newConsumer(s *Server, conn *websocket.Conn, r *http.Request, after uint64) *consumer {
	c := &consumer{
		server: s, conn: conn, raw: conn.NetConn(), reader: NewReader(s.opts.Log, s.opts.Ring, after),
		remote: r.RemoteAddr, agent: r.UserAgent(), since: time.Now(),
		control: make(chan []byte, 4), gone: make(chan struct{}),
	}
	c.position.Store(after)
	c.touch()
	return c
}

func (c *consumer) touch() { c.heard.Store(time.Now().UnixNano()) }

func (c *consumer) info() ConsumerInfo {
	return ConsumerInfo{
		RemoteAddr: c.remote, UserAgent: c.agent, Since: c.since,
		Position: c.position.Load(), Tier: Tier(c.tier.Load()).String(), Events: c.events.Load(),
	}
}

// serve runs until the connection ends.
func (c *consumer) serve(begin start) {
	go c.listen()
	reason := c.run(begin)
	_ = c.conn.Close()   // it may be closed already
	_ = c.reader.Close() // opened for reading
	<-c.gone
	c.server.metrics.closed.WithLabelValues(reason).Inc()
	c.server.opts.Logger.Debug("consumer left", "addr", c.remote, "reason", reason, "cursor", c.position.Load())
}

// run sends events until something ends the connection, and says what.
func (c *consumer) run(begin start) string {
	if begin.errName != "" {
		c.refuse(begin.errName, begin.errMessage, closePolicy)
		return reasonRefused
	}
	if begin.info != "" {
		c.scratch = appendFrame(c.scratch[:0], opBinary, InfoMessage(OutdatedCursor, begin.info))
		if reason := c.write(c.scratch); reason != "" {
			return reason
		}
	}
	ping := time.NewTicker(c.server.opts.PingInterval)
	defer ping.Stop()
	for {
		b, more, err := c.reader.Poll()
		if err != nil {
			c.server.opts.Logger.Error("replay ended: the log cannot be read", "addr", c.remote, "cursor", c.reader.Position(), "err", err)
			c.refuse(InternalError, "the log cannot be read at this cursor; the operator was told", closeInternal)
			return reasonFailed
		}
		if b.Events > 0 {
			if reason := c.send(b); reason != "" {
				return reason
			}
			more = closedChan
		}
		if reason := c.pause(more, ping.C, b.Events > 0); reason != "" {
			return reason
		}
	}
}

// pause deals with what is not an event: control frames, pings, the end. It waits
// for more events, unless there is more to send at once.
func (c *consumer) pause(more <-chan struct{}, ping <-chan time.Time, busy bool) string {
	stop := c.server.stop
	if busy && c.reader.Tier() == Memory {
		stop = nil // near the tip: first everything that is durable
	}
	select {
	case frame := <-c.control:
		return c.write(frame)
	case <-c.gone:
		if code := c.closeCode.Load(); code != 0 {
			c.scratch = appendClose(c.scratch[:0], uint16(code), "")
			c.write(c.scratch) // the answer that RFC 6455 wants, section 5.5.1
		}
		return reasonLeft
	case <-stop:
		c.scratch = appendClose(c.scratch[:0], closeServiceRestart, "the relay restarts")
		c.write(c.scratch)
		return reasonShutdown
	case <-ping:
		if busy {
			return ""
		}
		if time.Since(time.Unix(0, c.heard.Load())) > c.server.opts.PongTimeout {
			return reasonSilent
		}
		c.scratch = appendFrame(c.scratch[:0], opPing, nil)
		return c.write(c.scratch)
	case <-more:
		return ""
	}
}

func (c *consumer) send(b Batch) string {
	if reason := c.write(b.Wire); reason != "" {
		return reason
	}
	c.touch() // an event accepted is a sign of life, a ping is not
	c.position.Store(b.Last)
	c.events.Add(uint64(b.Events))
	c.tier.Store(uint32(c.reader.Tier()))
	c.server.metrics.sent(c.reader.Tier(), b.Events, len(b.Wire))
	return ""
}

// refuse sends an error frame and closes.
func (c *consumer) refuse(name, message string, code uint16) {
	c.scratch = appendFrame(c.scratch[:0], opBinary, ErrorMessage(name, message))
	c.scratch = appendClose(c.scratch, code, name)
	c.write(c.scratch)
}

// write writes whole frames. It gives up when no byte was accepted for the stall
// timeout, and returns the reason why the connection must end, "" for none.
func (c *consumer) write(b []byte) string {
	for {
		if err := c.raw.SetWriteDeadline(time.Now().Add(c.server.opts.StallTimeout)); err != nil {
			return reasonLeft
		}
		n, err := c.raw.Write(b)
		switch {
		case err == nil:
			return ""
		case errors.Is(err, os.ErrDeadlineExceeded) && n > 0:
			b = b[n:] // slow, but alive
		case errors.Is(err, os.ErrDeadlineExceeded):
			return reasonStalled
		default:
			return reasonLeft
		}
	}
}

// listen reads what the peer sends: control frames matter, messages do not.
func (c *consumer) listen() {
	defer close(c.gone)
	c.conn.SetReadLimit(64 << 10)
	c.conn.SetPingHandler(func(data string) error {
		c.touch()
		select {
		case c.control <- appendFrame(nil, opPong, []byte(data)):
		default: // four pongs wait: the next one answers this ping too
		}
		return nil
	})
	c.conn.SetPongHandler(func(string) error {
		c.touch()
		return nil
	})
	c.conn.SetCloseHandler(func(code int, _ string) error { // the writer answers
		if code != websocket.CloseNoStatusReceived {
			c.closeCode.Store(uint32(code))
		}
		return nil
	})
	for {
		_, r, err := c.conn.NextReader()
		if err != nil {
			return
		}
		c.touch()
		if _, err := io.Copy(io.Discard, r); err != nil {
			return
		}
	}
}
