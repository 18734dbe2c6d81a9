package main

import (
	"encoding/binary"
	"fmt"
)

// frameCounter counts the messages in a byte stream of WebSocket frames (RFC 6455,
// section 5.2) as a server sends them, given in pieces. It looks at frame headers
// alone.
type frameCounter struct {
	events int

	head [10]byte // of the frame that begins
	have int      // bytes of head
	skip uint64   // bytes of the payload that are still to come
	data bool     // the payload is the end of a data message
}

const (
	finBit     = 0x80
	opcodeBits = 0x0f
	lengthBits = 0x7f
	opClose    = 0x8
)

// feed counts the messages that end in p.
func (c *frameCounter) feed(p []byte) error {
	for len(p) > 0 {
		if c.skip > 0 {
			n := min(c.skip, uint64(len(p)))
			c.skip -= n
			p = p[n:]
			if c.skip == 0 && c.data {
				c.events++
			}
			continue
		}
		c.head[c.have] = p[0]
		c.have++
		p = p[1:]
		if c.have < 2 || c.have < c.headLen() {
			continue
		}
		if err := c.begin(); err != nil {
			return err
		}
	}
	return nil
}

// headLen is how long the header is; its first two bytes are there. A server does
// not mask.
func (c *frameCounter) headLen() int {
	switch c.head[1] & lengthBits {
	case 126:
		return 4
	case 127:
		return 10
	}
	return 2
}

// begin takes the whole header.
func (c *frameCounter) begin() error {
	switch c.head[1] & lengthBits {
	case 126:
		c.skip = uint64(binary.BigEndian.Uint16(c.head[2:]))
	case 127:
		c.skip = binary.BigEndian.Uint64(c.head[2:])
	default:
		c.skip = uint64(c.head[1] & lengthBits)
	}
	opcode := c.head[0] & opcodeBits
	c.data = opcode < opClose && c.head[0]&finBit != 0
	c.have = 0
	if opcode == opClose {
		return fmt.Errorf("the relay closed the connection after %d events", c.events)
	}
	if c.skip == 0 && c.data {
		c.events++
	}
	return nil
}
