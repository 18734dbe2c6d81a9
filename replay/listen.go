package replay

import (
	"io"
	"time"

	"github.com/gorilla/websocket"
)

// maxMessage bounds what a consumer may send, in bytes; nothing of it is used.
const maxMessage = 64 << 10

// listen reads what the peer sends: control frames matter, messages do not.
func (c *consumer) listen() {
	defer func() {
		close(c.gone)
		c.poke()
	}()
	c.conn.SetReadLimit(maxMessage)
	c.conn.SetPingHandler(func(data string) error {
		c.touch(time.Now())
		select {
		case c.control <- appendFrame(nil, opPong, []byte(data)):
			c.poke()
		default: // four pongs wait: the next one answers this ping too
		}
		return nil
	})
	c.conn.SetPongHandler(func(string) error {
		c.touch(time.Now())
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
		c.touch(time.Now())
		if _, err := io.Copy(io.Discard, r); err != nil {
			return
		}
	}
}
