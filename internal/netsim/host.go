package netsim

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"sort"
	"strconv"
	"sync"
	"time"
)

// Host is one PDS: a listener and a backlog of frames.
type Host struct {
	URL  string // http://127.0.0.1:PORT, or https
	Name string // the URL without its scheme

	net      *Network
	index    int
	rng      *rand.Rand
	accounts []*Account // guarded by the network's lock
	dialects []string   // guarded by the network's lock
	micros   bool       // sequence numbers are timestamps; guarded by the network's lock
	dormant  *Account   // an inactive account for lies; guarded by the network's lock

	mu      sync.Mutex // guards all below
	wake    *sync.Cond
	log     []*entry
	start   int // index in log of the first entry that a cursor can reach
	trimmed bool
	epoch   int
	seq     uint64
	visible int // how much of log is published; len(log) unless replayed from a file
	stalled bool
	silent  bool // pings are not answered
	subs    map[*subscriber]struct{}
	joined  int  // subscribers that there ever were
	named   bool // Name and URL are those of a listener, and stay
	server  *http.Server
	served  chan struct{} // closed when the server's accept loop has ended
	conns   sync.WaitGroup
}

func newHost(n *Network, index int) *Host {
	h := &Host{
		net: n, index: index, rng: rand.New(rand.NewPCG(seedOf(n.opts.Seed, "host", index))),
		subs: make(map[*subscriber]struct{}),
	}
	h.Name = fmt.Sprintf("host%d.netsim.invalid", index)
	h.URL = "http://" + h.Name
	h.wake = sync.NewCond(&h.mu)
	return h
}

// Start listens: the first time on the address that the options say, later on the
// same port again.
func (h *Host) Start() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.server != nil {
		return nil
	}
	l, err := h.listen()
	if err != nil {
		return fmt.Errorf("host %d: %w", h.index, err)
	}
	scheme := "http://"
	if a := h.net.authority; a != nil {
		scheme, l = "https://", tls.NewListener(l, a.config)
	}
	if !h.named {
		h.Name = l.Addr().String()
		h.URL = scheme + h.Name
		h.named = true
	}
	h.server = &http.Server{
		Handler: h.handler(), ReadHeaderTimeout: 30 * time.Second,
		ErrorLog: slog.NewLogLogger(h.net.opts.Logger.Handler(), slog.LevelDebug),
	}
	h.served = make(chan struct{})
	go func(s *http.Server, done chan struct{}) {
		defer close(done)
		if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			h.net.opts.Logger.Error("host stopped serving", "host", h.Name, "err", err)
		}
	}(h.server, h.served)
	return nil
}

// listen listens where the host is known to be, or where the options want it; the lock
// is held.
func (h *Host) listen() (net.Listener, error) {
	o := &h.net.opts
	addr := h.Name
	if !h.named {
		on := o.Listen[h.index%len(o.Listen)]
		if o.BasePort == 0 {
			return Listen(on)
		}
		addr = net.JoinHostPort(on, strconv.Itoa(o.BasePort+h.index))
	}
	return new(net.ListenConfig).Listen(context.Background(), "tcp", addr)
}

// Stop closes the listener and all connections and waits for them. The backlog stays;
// events may still be made, and Start serves them.
func (h *Host) Stop() error {
	h.mu.Lock()
	server, served := h.server, h.served
	h.server = nil
	h.mu.Unlock()
	if server == nil {
		return nil
	}
	err := server.Close()
	h.Disconnect()
	<-served
	h.conns.Wait()
	return err
}

// Disconnect cuts every subscriber's connection, without a close frame, and says how
// many those were.
func (h *Host) Disconnect() int {
	subs := h.subscribers()
	for _, s := range subs {
		s.cut()
	}
	return len(subs)
}

// Abort cuts every subscriber's connection with a TCP reset, so that what is on its
// way is lost, and says how many those were.
func (h *Host) Abort() int {
	subs := h.subscribers()
	for _, s := range subs {
		s.abort()
	}
	return len(subs)
}

func (h *Host) subscribers() []*subscriber {
	h.mu.Lock()
	defer h.mu.Unlock()
	subs := make([]*subscriber, 0, len(h.subs))
	for s := range h.subs {
		subs = append(subs, s)
	}
	return subs
}

// Stall makes the host hold back (true) or go on sending (false), with its
// connections open.
func (h *Host) Stall(stalled bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.stalled = stalled
	h.wake.Broadcast()
}

// Silence makes the host say nothing at all (true), not even pongs, with its connections
// open, or go on (false).
func (h *Host) Silence(silent bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.stalled, h.silent = silent, silent
	h.wake.Broadcast()
}

func (h *Host) isSilent() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.silent
}

// Reset is a host restored from nothing: its backlog is gone and its numbers begin
// at 1 again. Accounts stay as they are.
func (h *Host) Reset() {
	h.mu.Lock()
	for _, e := range h.log[h.start:] {
		e.gone.Store(true)
	}
	h.start, h.seq, h.trimmed = len(h.log), 0, false
	h.epoch++
	h.mu.Unlock()
	h.Disconnect()
}

// Trim forgets all but the newest keep events: an older cursor gets #info
// OutdatedCursor first.
func (h *Host) Trim(keep int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	start := max(h.start, len(h.log)-keep)
	h.trimmed = h.trimmed || start > h.start
	for _, e := range h.log[h.start:start] {
		e.gone.Store(true)
	}
	h.start = start
}

// Subscribers is the number of connected subscribers.
func (h *Host) Subscribers() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.subs)
}

// Joined is the number of subscribers that there ever were.
func (h *Host) Joined() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.joined
}

// Seq is the highest number that the host has given.
func (h *Host) Seq() uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.seq
}

// WaitSent blocks until every event of the host's backlog was written to a socket.
func (h *Host) WaitSent(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.wake.Broadcast()
	})
	defer stop()
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := h.start; ; h.wake.Wait() {
		for i = max(i, h.start); i < len(h.log) && h.log[i].sent.Load() > 0; i++ {
		}
		if i == len(h.log) {
			return nil
		}
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("host %s: event %d was not sent: %w", h.Name, h.log[i].order, err)
		}
	}
}

// emission is an event on its way into a backlog.
type emission struct {
	did, kind, rev string
	sent           *message // what goes on the wire
	want           *message // what a relay should serve, when that is not what was sent
	expect         expectation
	at             int64 // Unix µs
	once, text     bool
}

// emit gives the event a number and appends it to the backlog and the ledger. The
// network is locked.
func (h *Host) emit(em emission) (*entry, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	seq := h.nextSeq(em.at)
	frame := em.sent.encode(seq)
	e := &entry{
		host: h, order: seq, did: em.did, kind: em.kind, rev: em.rev, expect: em.expect, once: em.once, text: em.text,
		sha: sha256.Sum256(em.sent.encode(0)),
	}
	e.want = e.sha
	if em.want != nil {
		e.want = sha256.Sum256(em.want.encode(0))
	}
	return e, h.append(e, frame)
}

// nextSeq gives the next number; a real host leaves gaps now and then.
func (h *Host) nextSeq(at int64) uint64 {
	switch {
	case h.micros:
		return max(h.seq+1, uint64(at))
	case h.rng.IntN(16) == 0:
		return h.seq + 2 + uint64(h.rng.IntN(3))
	}
	return h.seq + 1
}

// append stores the frame; network and host are locked.
func (h *Host) append(e *entry, frame []byte) error {
	off, err := h.net.spool.append(frame)
	if err != nil {
		return err
	}
	e.off, e.length, e.epoch, e.index = off, len(frame), h.epoch, len(h.net.ledger)
	h.seq = e.order
	h.log = append(h.log, e)
	h.visible = len(h.log)
	h.net.ledger = append(h.net.ledger, e)
	h.wake.Broadcast()
	return nil
}

// after returns the position of the first entry above a cursor; the host is locked.
func (h *Host) after(cursor uint64) int {
	return h.start + sort.Search(len(h.log)-h.start, func(i int) bool { return h.log[h.start+i].order > cursor })
}
