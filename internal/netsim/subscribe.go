package netsim

import (
	"crypto/tls"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/cistern-archive/cistern/segmentlog/dagcbor"
	"github.com/gorilla/websocket"
)

// batchBytes is how much is written to a socket at once, more or less.
const batchBytes = 256 << 10

var upgrader = websocket.Upgrader{
	ReadBufferSize: 512, WriteBufferSize: 512,
	CheckOrigin: func(*http.Request) bool { return true },
}

// subscriber is one connection to subscribeRepos. After the upgrade it writes
// WebSocket frames by hand, many at once.
type subscriber struct {
	host *Host
	ws   *websocket.Conn
	conn net.Conn
	pos  int  // next index in the host's log; guarded by the host's lock
	gone bool // guarded by the host's lock

	write sync.Mutex // one writer at a time: events, pongs
}

func (h *Host) subscribe(w http.ResponseWriter, r *http.Request) {
	cursor, live := uint64(0), true
	if s := r.URL.Query().Get("cursor"); s != "" {
		v, err := strconv.ParseUint(s, 10, 63)
		if err != nil {
			xrpcError(w, http.StatusBadRequest, "InvalidRequest", "cursor must be a number")
			return
		}
		cursor, live = v, false
	}
	ws, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		return // the upgrader has answered
	}
	s := &subscriber{host: h, ws: ws, conn: ws.NetConn()}
	h.mu.Lock()
	if h.server == nil { // stopped in the meantime
		h.mu.Unlock()
		s.cut()
		return
	}
	h.conns.Add(2)
	h.subs[s] = struct{}{}
	h.joined++
	greeting, ok := s.seek(cursor, live)
	h.mu.Unlock()
	go s.read()
	go s.run(greeting, ok)
}

// seek sets the position and returns a frame to send first; it says whether the
// stream goes on after that. The host is locked.
func (s *subscriber) seek(cursor uint64, live bool) ([]byte, bool) {
	h := s.host
	switch {
	case live:
		s.pos = h.visible
	case cursor > h.seq:
		return errorFrame("FutureCursor", "Cursor in the future."), false
	default:
		s.pos = h.after(cursor)
		if h.trimmed && s.pos == h.start && h.start > 0 && cursor < h.log[h.start-1].order {
			return infoFrame("OutdatedCursor", "Requested cursor exceeded limit."), true
		}
	}
	return nil, true
}

// read answers pings and notices the end of the connection.
func (s *subscriber) read() {
	defer s.host.conns.Done()
	s.ws.SetPingHandler(func(data string) error {
		if s.host.isSilent() {
			return nil
		}
		return s.send(appendFrame(nil, websocket.PongMessage, []byte(data)))
	})
	s.ws.SetCloseHandler(func(int, string) error { return nil })
	for {
		if _, _, err := s.ws.NextReader(); err != nil {
			break
		}
	}
	s.cut()
}

// cut ends the connection from our side.
func (s *subscriber) cut() {
	s.host.mu.Lock()
	s.gone = true
	delete(s.host.subs, s)
	s.host.wake.Broadcast()
	s.host.mu.Unlock()
	_ = s.conn.Close() // it is gone either way
}

// abort is cut by a reset: the kernel throws away what it has not sent.
func (s *subscriber) abort() {
	conn := s.conn
	if t, ok := conn.(*tls.Conn); ok {
		conn = t.NetConn()
	}
	if t, ok := conn.(*net.TCPConn); ok {
		_ = t.SetLinger(0) // it may be closed already
	}
	_ = conn.Close() // at once, before TLS says goodbye
	s.cut()
}

func (s *subscriber) send(b []byte) error {
	s.write.Lock()
	defer s.write.Unlock()
	if err := s.conn.SetWriteDeadline(time.Now().Add(time.Minute)); err != nil {
		return err
	}
	_, err := s.conn.Write(b)
	return err
}

func (s *subscriber) sendAll(out *batchWriter) (int64, error) {
	s.write.Lock()
	defer s.write.Unlock()
	if err := s.conn.SetWriteDeadline(time.Now().Add(time.Minute)); err != nil {
		return 0, err
	}
	return out.parts.WriteTo(s.conn)
}

// run writes the backlog and then what comes.
func (s *subscriber) run(greeting []byte, ok bool) {
	defer s.host.conns.Done()
	defer s.cut()
	if greeting != nil {
		if s.send(appendFrame(nil, websocket.BinaryMessage, greeting)) != nil {
			return
		}
	}
	if !ok {
		s.sayGoodbye("FutureCursor")
		return
	}
	var batch []*entry
	out := batchWriter{spool: s.host.net.spool}
	for {
		if batch = s.next(batch[:0]); len(batch) == 0 {
			return
		}
		if err := out.fill(batch); err != nil {
			s.host.net.opts.Logger.Error("cannot read sent frames", "host", s.host.Name, "err", err)
			return
		}
		n, err := s.sendAll(&out)
		s.sent(wholeOf(batch, n)) // the subscriber can have read these, and may not ask for them again
		if err != nil {
			return
		}
	}
}

// sayGoodbye closes the WebSocket properly, with the code for a policy violation.
func (s *subscriber) sayGoodbye(reason string) {
	_ = s.send(appendFrame(nil, websocket.CloseMessage, websocket.FormatCloseMessage(websocket.ClosePolicyViolation, reason)))
}

// next waits for events and returns about batchBytes of them; none means that the
// connection is gone.
func (s *subscriber) next(batch []*entry) []*entry {
	h := s.host
	h.mu.Lock()
	defer h.mu.Unlock()
	for !s.gone {
		s.pos = max(s.pos, h.start)
		for size := 0; s.pos < h.visible && size < batchBytes && !h.stalled; s.pos++ {
			e := h.log[s.pos]
			if e.once && e.sent.Load() > 0 {
				continue
			}
			batch = append(batch, e)
			size += e.length
		}
		if len(batch) > 0 {
			return batch
		}
		h.wake.Wait()
	}
	return nil
}

// sent counts what was written.
func (s *subscriber) sent(batch []*entry) {
	h := s.host
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, e := range batch {
		e.sent.Add(1)
	}
	h.wake.Broadcast()
}

// errorFrame makes a frame with op -1 (the event-stream page).
func errorFrame(name, msg string) []byte { return errorMessage(name, msg).encode(0) }

func errorMessage(name, msg string) *message {
	return &message{
		header:  []field{{"op", dagcbor.AppendHead(nil, dagcbor.MajorNint, 0)}},
		payload: []field{{"error", text(name)}, {"message", text(msg)}},
	}
}

func infoFrame(name, msg string) []byte {
	return newMessage("#info", field{"name", text(name)}, field{"message", text(msg)}).encode(0)
}
