package rogue

import (
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Options of a Host. The zero value is usable.
type Options struct {
	// Seed of what is random.
	Seed uint64
	// Every is the pause of the kinds that are slow; default 1 s.
	Every time.Duration
	// Messages returns what an honest host would send after a cursor, oldest first.
	// Default: one message of a kind that nobody knows (row T3), whatever the cursor.
	Messages func(cursor uint64) [][]byte
	// Reform is how many streams are broken before the host turns honest: it
	// upgrades, sends its messages and answers pings. 0: it never does.
	Reform int
}

// Host plays one kind. It is safe for concurrent use.
type Host struct {
	kind Kind
	opts Options

	conns atomic.Int64
	fired atomic.Int64

	mu      sync.Mutex
	cursors []uint64 // of the streams so far
}

// New returns a Host of a kind that Kinds has.
func New(kind Kind, opts Options) (*Host, error) {
	if scripts[kind].play == nil {
		return nil, fmt.Errorf("rogue: %q is no kind", kind)
	}
	if opts.Every == 0 {
		opts.Every = time.Second
	}
	if opts.Messages == nil {
		opts.Messages = func(uint64) [][]byte { return [][]byte{unknownMessage} }
	}
	return &Host{kind: kind, opts: opts}, nil
}

// Count is what a host did.
type Count struct {
	Connections int64 `json:"connections"` // that were made to it
	Fired       int64 `json:"fired"`       // how often it broke the rule: headers, fragments, pings, cuts …
}

// Count returns what the host did so far.
func (h *Host) Count() Count { return Count{h.conns.Load(), h.fired.Load()} }

// Kind is the host's kind.
func (h *Host) Kind() Kind { return h.kind }

// Cursors are those of the streams that it was asked for, in order.
func (h *Host) Cursors() []uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.cursors[:len(h.cursors):len(h.cursors)]
}

// Play plays the host on a connection that was just accepted, until either side ends
// it, and closes it.
func (h *Host) Play(c net.Conn) {
	n := h.conns.Add(1)
	defer c.Close()
	p, err := meet(c)
	if err != nil {
		return // it left before it asked
	}
	defer p.wait()
	p.rng = rand.New(rand.NewPCG(h.opts.Seed, uint64(n)))
	script := scripts[h.kind]
	switch stream := strings.HasSuffix(p.path, "subscribeRepos"); {
	case stream && h.reformed(p):
		p.listen(true)
		h.honest(p)
	case stream, script.early:
		p.listen(h.kind != Silent)
		script.play(h, p)
	default:
		p.listen(false)
		p.write([]byte("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"))
	}
}

// reformed gives the stream its number and says whether the host keeps the rules now.
func (h *Host) reformed(p *peer) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	p.number = len(h.cursors)
	h.cursors = append(h.cursors, p.cursor)
	return h.opts.Reform > 0 && p.number >= h.opts.Reform
}

// fire counts one breach.
func (h *Host) fire() { h.fired.Add(1) }

// honest is what a host does that keeps the rules.
func (h *Host) honest(p *peer) {
	if p.write(p.upgrade()) && p.write(h.backlog(p)) {
		<-p.gone
	}
}

// backlog is all messages after the cursor, as frames.
func (h *Host) backlog(p *peer) (b []byte) {
	for _, m := range h.opts.Messages(p.cursor) {
		b = appendFrame(b, final|opBinary, m)
	}
	return b
}
