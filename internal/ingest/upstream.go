package ingest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
	"golang.org/x/time/rate"

	"github.com/cistern-archive/cistern/internal/identity"
)

// Reasons to end a connection. Each is logged and shown with the host.
var (
	errText      = errors.New("sent a text message")
	errOversized = errors.New("sent too many oversized messages in a row")
	errEndless   = errors.New("sent a message of more than 64 MiB")
	errSilent    = errors.New("was silent for too long")
	errSlow      = errors.New("took too long over one message")
	errBadSeq    = errors.New("sent a seq out of range")
	errBackwards = errors.New("sent too many seqs that do not increase")
	errNoRoom    = errors.New("there was no memory for a large message for too long")
	errHandshake = errors.New("sent more than 256 KiB before the connection was open")
	errFragments = errors.New("sent a message in too many pieces")
	errControls  = errors.New("sent too many pings and pongs")
	errExtension = errors.New("answered with a WebSocket extension that it was not offered")
)

// maxCloseReason is what a close frame may carry, in bytes (RFC 6455, section 5.5).
const maxCloseReason = 123

// dialer opens upstream connections.
type dialer struct {
	opts      DialOptions
	userAgent string
}

// writeBuffers lets connections, which seldom write, share buffers.
var writeBuffers sync.Pool

// connect opens a host's stream after cursor. The answer's headers must not be those
// of a relay unless the host is trusted: two relays that read each other would send
// the same events round for ever.
func (d *dialer) connect(ctx context.Context, a *address, cursor uint64) (*upstream, error) {
	return d.open(ctx, a, a.subscribeURL(cursor))
}

// open is connect by the stream's URL.
func (d *dialer) open(ctx context.Context, a *address, streamURL string) (*upstream, error) {
	dial := d.opts.DialTrusted
	if !a.trusted {
		dial = d.opts.DialPublic
	}
	if dial == nil {
		nd := &net.Dialer{KeepAlive: 30 * time.Second, Resolver: d.opts.Resolver}
		if !a.trusted {
			nd.Control = identity.ControlPublic
		}
		dial = nd.DialContext
	}
	var raw *limitedConn
	var beneath *ahead
	ws := websocket.Dialer{
		NetDialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			c, err := dial(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			beneath = &ahead{Conn: c}
			raw = &limitedConn{Conn: beneath}
			raw.limit(maxHandshake, errHandshake)
			return raw, nil
		},
		TLSClientConfig:  d.opts.TLS,
		HandshakeTimeout: d.opts.HandshakeTimeout,
		ReadBufferSize:   512,
		WriteBufferSize:  512,
		WriteBufferPool:  &writeBuffers,
	}
	header := http.Header{"User-Agent": {d.userAgent}}
	conn, resp, err := ws.DialContext(ctx, streamURL, header) //nolint:bodyclose // the library says that it need not be
	if err != nil {
		if resp != nil {
			err = fmt.Errorf("%w: HTTP %d", err, resp.StatusCode)
		}
		return nil, fmt.Errorf("connect: %w", err)
	}
	if err := refuse(a, resp.Header); err != nil {
		_ = conn.Close() // nothing was read, nothing is lost
		return nil, err
	}
	beneath.from = &aheadBuffers
	up := newUpstream(conn, raw, &d.opts)
	up.beneath, up.stream = beneath, resp.Header.Get(streamHeader)
	return up, nil
}

// refuse says why a host that has answered is not read.
func refuse(a *address, h http.Header) error {
	switch {
	case !a.trusted && isRelay(h):
		return ErrRelay
	case len(h.Values("Sec-WebSocket-Extensions")) > 0:
		// RFC 6455, section 4.1. The library would take compression from anyone.
		return errExtension
	}
	return nil
}

// streamHeader is how a Cistern says whose cursors its numbers are.
const streamHeader = "Cistern-Stream"

func isRelay(h http.Header) bool {
	for _, field := range []string{"Server", "Via"} {
		for _, v := range h.Values(field) {
			if strings.Contains(strings.ToLower(v), "atproto-relay") {
				return true
			}
		}
	}
	return false
}

// upstream is an open connection. One goroutine reads it; a timer, which is no
// goroutine while it waits, pings it and gives it up when it is silent.
type upstream struct {
	conn     *websocket.Conn
	raw      *limitedConn
	body     io.Reader // of the message being read
	controls *rate.Limiter
	opts     *DialOptions
	opened   time.Time
	large    *share   // of the memory for large messages
	overlap  *overlap // nil but for a relay whose numbers are kept
	stream   string   // whose cursors it says that they are, "" where it does not

	beneath *ahead // beneath TLS and messages; the reader's

	heard  atomic.Int64 // when anything was last heard, in ns since opened
	began  atomic.Int64 // when the message being read began, likewise; -1 for none
	paused atomic.Bool  // the reader waits for room and hears nothing

	mu    sync.Mutex
	timer *time.Timer // nil once closed
	cause error       // why we closed it, nil if we did not
	ticks sync.WaitGroup
}

func newUpstream(conn *websocket.Conn, raw *limitedConn, opts *DialOptions) *upstream {
	u := &upstream{conn: conn, raw: raw, controls: rate.NewLimiter(controlsPerSecond, controlsAtOnce), opts: opts, opened: time.Now()}
	u.began.Store(-1)
	raw.unlimit()
	conn.SetPongHandler(func(string) error { return u.control() })
	answer := conn.PingHandler()
	conn.SetPingHandler(func(data string) error {
		if err := u.control(); err != nil {
			return err
		}
		return answer(data)
	})
	u.mu.Lock() // the first tick may be soon
	defer u.mu.Unlock()
	u.timer = time.AfterFunc(opts.PingAfter, u.tick)
	return u
}

func (u *upstream) since() int64 { return int64(time.Since(u.opened)) }

// tick looks after the connection and arms itself again.
func (u *upstream) tick() {
	u.mu.Lock()
	if u.timer == nil {
		u.mu.Unlock()
		return
	}
	u.ticks.Add(1)
	u.mu.Unlock()
	defer u.ticks.Done()

	now := u.since()
	if u.paused.Load() {
		u.heard.Store(now)
	}
	silent := time.Duration(now - u.heard.Load())
	began := u.began.Load()
	switch {
	case silent >= u.opts.SilentFor:
		u.close(errSilent)
		return
	case began >= 0 && time.Duration(now-began) >= u.opts.SilentFor && !u.paused.Load():
		u.close(errSlow)
		return
	case silent >= u.opts.PingAfter:
		// A failed ping needs no answer: the silence goes on and is noticed.
		_ = u.conn.WriteControl(websocket.PingMessage, nil, time.Now().Add(time.Second))
	}
	next := u.opts.PingAfter
	if silent < next {
		next -= silent
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.timer != nil {
		u.timer.Reset(min(next, max(u.opts.SilentFor-silent, time.Millisecond)))
	}
}

// next waits for the beginning of a message.
func (u *upstream) next() error {
	kind, body, err := u.conn.NextReader()
	if err != nil {
		return err
	}
	if kind != websocket.BinaryMessage { // T1
		return errText
	}
	now := u.since()
	u.heard.Store(now)
	u.began.Store(now)
	u.body = body
	u.raw.limit(maxFraming, errFragments)
	return nil
}

// read reads the message that next found into m. fits is false for one that was too
// large and was read away.
func (u *upstream) read(ctx context.Context, m *message) (fits bool, err error) {
	fits, err = m.read(ctx, u, u)
	u.raw.unlimit()
	u.began.Store(-1)
	return fits, err
}

// room lets a message that is being read grow, when there is memory for it. While it
// waits, nobody is silent or slow; it does not wait for ever, since messages that wait
// for each other's memory would.
func (u *upstream) room(ctx context.Context, m *message, n int64) error {
	if !u.large.try(n) {
		ctx, cancel := context.WithTimeoutCause(ctx, u.opts.SilentFor, errNoRoom)
		defer cancel()
		u.paused.Store(true)
		defer u.paused.Store(false)
		if err := u.large.wait(ctx, n); err != nil {
			return err
		}
		u.began.Store(u.since())
	}
	m.share = u.large
	m.charged += n
	return nil
}

// close ends the connection with a cause that the peer is told; the first counts.
func (u *upstream) close(cause error) {
	u.mu.Lock()
	if u.timer == nil {
		u.mu.Unlock()
		return
	}
	u.timer.Stop()
	u.timer, u.cause = nil, cause
	u.mu.Unlock()
	code, reason := websocket.ClosePolicyViolation, cause.Error()
	if errors.Is(cause, ErrStopped) {
		code = websocket.CloseGoingAway
	}
	// The peer may be gone; then there is nobody to tell.
	_ = u.conn.WriteControl(websocket.CloseMessage,
		websocket.FormatCloseMessage(code, reason[:min(len(reason), maxCloseReason)]), time.Now().Add(100*time.Millisecond))
	_ = u.conn.Close()
}

// finish closes the connection, waits for its timer, and returns why it ended: our
// own reason when we had one, else readErr. Nobody reads any more.
func (u *upstream) finish(readErr error) error {
	u.close(readErr)
	u.ticks.Wait()
	u.beneath.drop()
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.cause
}
