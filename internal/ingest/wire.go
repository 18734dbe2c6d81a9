package ingest

import "net"

const (
	// maxHandshake bounds what a host may send before the upgrade is done, TLS
	// included, in bytes: net/http sets no limit to a response's headers.
	maxHandshake = 256 << 10
	// maxFraming is how many bytes a message may take on the wire beyond twice its own,
	// so that a host cannot keep us busy with fragments of nothing. What was read
	// ahead, a TLS record at most, is in it.
	maxFraming = 256 << 10
	// controlsPerSecond is how many pings and pongs a host may send in the long run.
	controlsPerSecond = 10
	// controlsAtOnce is how many may come at once, as they do from an honest host that
	// went on pinging while it was not read.
	controlsAtOnce = 1000
)

// limitedConn counts the bytes that are read from a socket and ends the reading when
// there are too many. One goroutine at a time reads it and sets its limits.
type limitedConn struct {
	net.Conn
	left int64 // bytes that may be read; negative for any number
	over error // of the read after these
}

// limit allows n bytes from now on; over is the error of the read after them.
func (c *limitedConn) limit(n int64, over error) { c.left, c.over = n, over }

// unlimit allows any number.
func (c *limitedConn) unlimit() { c.left = -1 }

// allow allows n bytes more, when there is a limit.
func (c *limitedConn) allow(n int64) {
	if c.left >= 0 {
		c.left += n
	}
}

func (c *limitedConn) Read(p []byte) (int, error) {
	if c.left < 0 {
		return c.Conn.Read(p)
	}
	if c.left == 0 {
		return 0, c.over
	}
	if int64(len(p)) > c.left {
		p = p[:c.left]
	}
	n, err := c.Conn.Read(p)
	c.left -= int64(n)
	return n, err
}

// Read reads the message that next found. With what it brings grows what the host may
// send for the rest of it.
func (u *upstream) Read(p []byte) (int, error) {
	n, err := u.body.Read(p)
	u.raw.allow(2 * int64(n))
	return n, err
}

// control notes a ping or a pong.
func (u *upstream) control() error {
	if !u.controls.Allow() {
		return errControls
	}
	u.heard.Store(u.since())
	return nil
}
