package replay

import (
	"errors"
	"net/http"
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
// another one reads, since a WebSocket peer may ping and close. Whatever there is to do
// for the writer puts a token into the reader's wake channel.
type consumer struct {
	server *Server
	conn   *websocket.Conn
	socket socket
	reader *Reader
	remote string
	agent  string
	since  time.Time
	ping   *time.Timer
	limit  pacer

	pending   atomic.Bool // there is something to do besides events
	pingDue   atomic.Bool
	heard     atomic.Int64  // last byte received, or accepted, Unix ns
	closeCode atomic.Uint32 // of the peer's close frame, 0 for none
	control   chan []byte   // frames to send for what the peer sent: pongs
	gone      chan struct{} // closed when the peer closed or the socket failed
	scratch   []byte
	writes    int

	stats consumerStats
}

func newConsumer(s *Server, conn *websocket.Conn, remote string, r *http.Request, after uint64) *consumer {
	now := time.Now()
	c := &consumer{
		server: s, conn: conn, reader: s.opts.Source.NewReader(after),
		remote: remote, agent: r.UserAgent(), since: now, limit: newPacer(s.opts.RateLimit),
		control: make(chan []byte, 4), gone: make(chan struct{}),
	}
	c.socket = socket{conn: conn.NetConn()}
	c.stats.position.Store(after)
	c.touch(now)
	c.ping = time.AfterFunc(s.opts.PingInterval, func() {
		c.pingDue.Store(true)
		c.poke()
	})
	return c
}

// poke wakes the writer to attend.
func (c *consumer) poke() {
	c.pending.Store(true)
	nudge(c.reader.wake)
}

func (c *consumer) touch(now time.Time) { c.heard.Store(now.UnixNano()) }

// serve runs until the connection ends.
func (c *consumer) serve(begin start) {
	go c.listen()
	reason := c.run(begin)
	_ = c.conn.Close() // it may be closed already
	c.reader.Close()
	c.ping.Stop()
	<-c.gone
	c.server.metrics.closed.WithLabelValues(reason).Inc()
	c.server.opts.Logger.Debug("consumer left", "addr", c.remote, "reason", reason, "cursor", c.stats.position.Load())
}

// run sends events until something ends the connection, and says what.
func (c *consumer) run(begin start) string {
	if begin.errName != "" {
		c.refuse(begin.errName, begin.errMessage, closePolicy)
		return reasonRefused
	}
	if begin.info != "" {
		if reason := c.message(opBinary, InfoMessage(OutdatedCursor, begin.info)); reason != "" {
			return reason
		}
	}
	if reason := c.awaitReady(); reason != "" {
		return reason
	}
	for {
		stopping := c.server.stopping.Load() // before the look: then nothing that is durable is missed
		b, err := c.reader.Poll()
		var trimmed *TrimmedError
		if errors.As(err, &trimmed) {
			if reason := c.message(opBinary, InfoMessage(OutdatedCursor, trimmed.Error())); reason != "" {
				return reason
			}
			continue
		}
		if err != nil {
			c.server.opts.Logger.Error("replay ended: the log cannot be read", "addr", c.remote, "cursor", c.reader.Position(), "err", err)
			c.refuse(InternalError, "the log cannot be read at this cursor; the operator was told", closeInternal)
			return reasonFailed
		}
		if b.Len() > 0 {
			if reason := c.send(b); reason != "" {
				return reason
			}
		}
		// Near the tip a consumer that is sent away first gets everything that is durable.
		more := b.Len() > 0 && (stopping || !c.reader.Drained())
		stopping = stopping && !(more && c.reader.Tier() == Memory)
		if reason := c.attend(more, stopping); reason != "" {
			return reason
		}
		if !more {
			<-c.reader.wake
		}
	}
}

// awaitReady waits until it is known which accounts are suppressed.
func (c *consumer) awaitReady() string {
	ready := c.server.opts.Ready
	for ready != nil {
		select {
		case <-ready:
			return ""
		case <-c.reader.wake:
			if reason := c.attend(false, c.server.stopping.Load()); reason != "" {
				return reason
			}
		}
	}
	return ""
}

// attend deals with what is not an event: control frames, pings, the end. busy says that
// there may be more events to send at once, stopping that the connection is to end now.
func (c *consumer) attend(busy, stopping bool) string {
	if !c.pending.Swap(false) && !stopping {
		return ""
	}
	for {
		select {
		case frame := <-c.control:
			if reason := c.write(frame); reason != "" {
				return reason
			}
			continue
		case <-c.gone:
			return c.answerClose()
		default:
		}
		break
	}
	if stopping {
		c.scratch = appendClose(c.scratch[:0], closeServiceRestart, "the relay restarts")
		c.write(c.scratch)
		return reasonShutdown
	}
	if !c.pingDue.Swap(false) {
		return ""
	}
	c.ping.Reset(c.server.opts.PingInterval)
	if busy || c.reader.Loading() { // something is unsent: whether it is taken decides
		return ""
	}
	if time.Since(time.Unix(0, c.heard.Load())) > c.server.opts.PongTimeout {
		return reasonSilent
	}
	return c.message(opPing, nil)
}

// answerClose is the answer that RFC 6455 wants, section 5.5.1.
func (c *consumer) answerClose() string {
	if code := c.closeCode.Load(); code != 0 {
		c.scratch = appendClose(c.scratch[:0], uint16(code), "")
		c.write(c.scratch)
	}
	return reasonLeft
}

// message sends one small frame.
func (c *consumer) message(opcode byte, payload []byte) string {
	c.scratch = appendFrame(c.scratch[:0], opcode, payload)
	return c.write(c.scratch)
}

// refuse sends an error frame and closes.
func (c *consumer) refuse(name, message string, code uint16) {
	c.scratch = appendFrame(c.scratch[:0], opBinary, ErrorMessage(name, message))
	c.scratch = appendClose(c.scratch, code, name)
	c.write(c.scratch)
}
