package rogue

import (
	"bufio"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"time"
)

// peer is the other side of a connection: who asked.
type peer struct {
	net.Conn
	br     *bufio.Reader
	path   string
	key    string // of the upgrade
	cursor uint64
	number int        // of the stream, from 0
	rng    *rand.Rand // the connection's own

	gone chan struct{} // closed when the other side is
}

// meet reads the request.
func meet(c net.Conn) (*peer, error) {
	p := &peer{Conn: c, br: bufio.NewReader(c), gone: make(chan struct{})}
	req, err := http.ReadRequest(p.br)
	if err != nil {
		return nil, err
	}
	p.path, p.key = req.URL.Path, req.Header.Get("Sec-WebSocket-Key")
	p.cursor, _ = strconv.ParseUint(req.URL.Query().Get("cursor"), 10, 64) // none is 0
	return p, nil
}

// listen reads what the peer says until it is gone, so that it can go on speaking;
// pongs says whether its pings are answered.
func (p *peer) listen(pongs bool) {
	go func() {
		defer close(p.gone)
		defer p.Close() // whoever writes is to notice
		for {
			first, payload, err := p.frame()
			if err != nil {
				_, _ = io.Copy(io.Discard, p.br) // what is no frame is read away
				return
			}
			if pongs && first&0xf == opPing && !p.write(appendFrame(nil, final|opPong, payload)) {
				return
			}
		}
	}()
}

// wait ends the listening.
func (p *peer) wait() {
	p.Close()
	<-p.gone
}

var errNoControl = errors.New("not a client's control frame")

// frame reads a frame of a client, which is masked and, since a subscriber sends
// nothing else, a control frame.
func (p *peer) frame() (first byte, payload []byte, err error) {
	var head [6]byte
	if _, err := io.ReadFull(p.br, head[:]); err != nil {
		return 0, nil, err
	}
	if head[1] < 0x80 || head[1]&0x7f > 125 {
		return 0, nil, errNoControl
	}
	payload = make([]byte, head[1]&0x7f)
	if _, err := io.ReadFull(p.br, payload); err != nil {
		return 0, nil, err
	}
	for i := range payload {
		payload[i] ^= head[2+i%4]
	}
	return head[0], payload, nil
}

// upgrade is the answer of a host that keeps the rules.
func (p *peer) upgrade() []byte { return p.upgradeWith("") }

// upgradeWith is upgrade with more headers, each with its line's end.
func (p *peer) upgradeWith(headers string) []byte {
	sum := sha1.Sum([]byte(p.key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return []byte("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " +
		base64.StdEncoding.EncodeToString(sum[:]) + "\r\n" + headers + "\r\n")
}

// write says whether all was written; when not, the peer is gone.
func (p *peer) write(b []byte) bool {
	_, err := p.Write(b)
	return err == nil
}

// pause waits and says whether the peer is still there.
func (p *peer) pause(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-p.gone:
		return false
	}
}

// reset ends the connection with a TCP reset, where there is TCP: the kernels throw
// away what is on its way.
func (p *peer) reset() {
	if t, ok := p.Conn.(*net.TCPConn); ok {
		_ = t.SetLinger(0) // it may be closed already
	}
	p.Close()
}

// random fills a buffer.
func (p *peer) random(n int) []byte {
	b := make([]byte, 0, n+8)
	for len(b) < n {
		b = binary.LittleEndian.AppendUint64(b, p.rng.Uint64())
	}
	return b[:n]
}
