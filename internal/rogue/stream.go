package rogue

import (
	"bytes"
	"time"
)

// cutMessage sends what it has whole but for the last message, which it cuts behind
// byte k; k grows by one with each connection.
func (h *Host) cutMessage(p *peer) {
	if !p.write(p.upgrade()) {
		return
	}
	messages := h.opts.Messages(p.cursor)
	if len(messages) == 0 {
		<-p.gone
		return
	}
	var b []byte
	last := len(messages) - 1
	for _, m := range messages[:last] {
		b = appendFrame(b, final|opBinary, m)
	}
	f := appendFrame(nil, final|opBinary, messages[last])
	if p.write(append(b, f[:p.number%len(f)]...)) {
		h.fire()
	}
}

func (h *Host) resetMessage(p *peer) {
	h.cutMessage(p)
	p.reset()
}

// fragments sends a message that goes on in fragments of a size.
func fragments(size int) func(*Host, *peer) {
	const atOnce = 512 // bytes, so that small ones do not cost a write each
	return func(h *Host, p *peer) {
		one := appendFrame(nil, opContinuation, make([]byte, size))
		n := max(1, atOnce/len(one))
		many := bytes.Repeat(one, n)
		if !p.write(p.upgrade()) || !p.write(appendFrame(nil, opBinary, make([]byte, size))) {
			return
		}
		for p.write(many) {
			h.fired.Add(int64(n))
		}
	}
}

// slowFragments never ends a message and is never silent.
func (h *Host) slowFragments(p *peer) {
	ok := p.write(p.upgrade()) && p.write(appendFrame(nil, opBinary, []byte{0}))
	for ok && p.pause(h.opts.Every) {
		ok = p.write(appendFrame(appendFrame(nil, opContinuation, []byte{0}), final|opPong, nil))
		h.fire()
	}
}

func (h *Host) lyingLength(p *peer) {
	b := appendHead(p.upgrade(), final|opBinary, 1<<62)
	for p.write(b) {
		h.fire()
		b = make([]byte, 64<<10)
	}
}

// flood sends control frames of an opcode.
func flood(op byte) func(*Host, *peer) {
	return func(h *Host, p *peer) {
		one := appendFrame(nil, final|op, []byte("are you there?"))
		for ok := p.write(p.upgrade()); ok; ok = p.write(one) {
			h.fire()
		}
	}
}

func (h *Host) text(p *peer) { h.say(p, final|opText, []byte(`{"op":1}`)) }

func (h *Host) reserved(p *peer) { h.say(p, final|opNothing, nil) }

// say sends one frame and waits for what comes of it.
func (h *Host) say(p *peer, first byte, payload []byte) {
	if p.write(appendFrame(p.upgrade(), first, payload)) {
		h.fire()
		<-p.gone
	}
}

func (h *Host) oversized(p *peer) {
	f := appendFrame(nil, final|opBinary, make([]byte, 6_000_000))
	for ok := p.write(p.upgrade()); ok && p.write(f); {
		h.fire()
	}
}

func (h *Host) silent(p *peer) {
	if p.write(p.upgrade()) {
		h.fire()
		<-p.gone
	}
}

// resets sends some of the honest messages and resets the connection, at once or after
// a random while.
func (h *Host) resets(p *peer) {
	if !p.write(p.upgrade()) {
		return
	}
	messages := h.opts.Messages(p.cursor)
	for _, m := range messages[:p.rng.IntN(len(messages)+1)] {
		if !p.write(appendFrame(nil, final|opBinary, m)) {
			return
		}
	}
	if p.rng.IntN(2) == 0 || p.pause(time.Duration(p.rng.Int64N(int64(h.opts.Every)))) {
		h.fire()
		p.reset()
	}
}
