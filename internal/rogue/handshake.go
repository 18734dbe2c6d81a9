package rogue

import (
	"bytes"
	"compress/flate"
	"fmt"
	"strings"
)

// statusLine begins an answer that promises an upgrade.
const statusLine = "HTTP/1.1 101 Switching Protocols\r\n"

func (h *Host) mute(p *peer) {
	h.fire()
	<-p.gone
}

func (h *Host) slowHeaders(p *peer) {
	if !p.write([]byte(statusLine)) {
		return
	}
	for i := 0; p.write(fmt.Appendf(nil, "X-Patience-%d: yes\r\n", i)); i++ {
		h.fire()
		if !p.pause(h.opts.Every) {
			return
		}
	}
}

func (h *Host) endlessHeaders(p *peer) {
	b := []byte(statusLine)
	for p.write(b) {
		h.fire()
		b = []byte("X-Long: " + strings.Repeat("x", 1000) + "\r\n")
	}
}

func (h *Host) endlessLine(p *peer) {
	b := []byte(statusLine + "X-Long: ")
	for p.write(b) {
		h.fire()
		b = bytes.Repeat([]byte("x"), 1000)
	}
}

func (h *Host) endlessBody(p *peer) {
	b := []byte("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{")
	for p.write(b) {
		h.fire()
		b = bytes.Repeat([]byte(" "), 4096)
	}
}

func (h *Host) garbage(p *peer) {
	for p.write(p.random(64)) {
		h.fire()
	}
}

// compressed answers with an extension that no client of ours offers, which the client
// must refuse (RFC 6455, section 4.1), and sends a megabyte of zeros in a kilobyte,
// again and again.
func (h *Host) compressed(p *peer) {
	if !p.write(p.upgradeWith("Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover\r\n")) {
		return
	}
	h.fire()
	for bomb := appendFrame(nil, final|compressedBit|opBinary, deflated(1<<20)); p.write(bomb); {
		h.fire()
	}
}

// deflated is n zeros as RFC 7692 wants them, without the empty block at the end.
func deflated(n int) []byte {
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, flate.BestSpeed)
	if err != nil {
		panic(err) // the level is one that exists
	}
	_, _ = w.Write(make([]byte, n)) // into memory
	_ = w.Flush()
	return bytes.TrimSuffix(b.Bytes(), []byte{0, 0, 0xff, 0xff})
}

// cutResponse cuts behind byte k of the answer; k grows by one with each connection.
func (h *Host) cutResponse(p *peer) {
	answer := p.upgrade()
	if p.write(answer[:p.number%len(answer)]) {
		h.fire()
	}
}

func (h *Host) resetResponse(p *peer) {
	h.cutResponse(p)
	p.reset()
}

// splitResponse writes the answer and what comes after it in two pieces; the second
// may begin with the last byte of all.
func (h *Host) splitResponse(p *peer) {
	all := append(p.upgrade(), h.backlog(p)...)
	k := p.number % len(all)
	if p.write(all[:k]) && p.write(all[k:]) {
		h.fire()
		<-p.gone
	}
}
