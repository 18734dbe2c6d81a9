package replay

import (
	"errors"
	"net"
	"os"
	"time"
)

const (
	// writeStep is after how long a write that waits for its peer is looked at: between two
	// and one of it. Then memory that others wait for is given back, and what was suppressed
	// meanwhile is left out.
	writeStep = time.Second
	// lastWords is how long a consumer that is given up has to take the reason.
	lastWords = time.Second
)

// socket writes with a deadline that is moved seldom, since that costs a tenth of a write.
type socket struct {
	conn     net.Conn
	deadline time.Time
	spans    []span // to use again
	buffers  net.Buffers
}

// until moves the deadline when less than step is left.
func (s *socket) until(now time.Time, step time.Duration) error {
	if s.deadline.Sub(now) >= step {
		return nil
	}
	s.deadline = now.Add(2 * step)
	return s.conn.SetWriteDeadline(s.deadline)
}

// write writes parts of buf, which are whole WebSocket frames or the rest of one.
func (s *socket) write(buf []byte, spans []span) (int, error) {
	if len(spans) == 1 {
		return s.conn.Write(buf[spans[0].begin:spans[0].end])
	}
	buffers := s.buffers[:0]
	for _, p := range spans {
		buffers = append(buffers, buf[p.begin:p.end])
	}
	s.buffers = buffers // WriteTo moves its receiver on
	n, err := buffers.WriteTo(s.conn)
	return int(n), err
}

// send writes a batch, without what is suppressed, and returns the reason why the
// connection must end, "" for none.
func (c *consumer) send(b Batch) string {
	last, tier, published := b.Last(), c.reader.Tier(), b.run.events[b.from].at
	now := time.Now()
	progress, bytes := now, 0
	for done := 0; b.Len() > 0; {
		spans, events := b.wire(c.socket.spans[:0], c.server.opts.Suppressed, done)
		c.socket.spans = spans
		if len(spans) == 0 {
			break
		}
		err := c.socket.until(now, c.server.step())
		n := 0
		if err == nil {
			n, err = c.socket.write(b.run.buf, spans)
		}
		if err == nil {
			bytes += n
			c.stats.sent(tier, events, n)
			break
		}
		now = time.Now()
		if n > 0 {
			progress = now
			c.touch(now)
		}
		bytes += n
		before := b.Len()
		b, done = b.after(spans, n)
		c.stats.sent(tier, before-b.Len(), n)
		if reason := c.waited(err, now.Sub(progress), b, done); reason != "" {
			return reason
		}
		if b.run.dropped.Load() {
			b = c.reader.detach(b)
		}
	}
	c.note(published)
	c.touch(now) // an event accepted is a sign of life, a ping is not
	c.stats.reached(last, tier, now)
	return c.pace(tier, bytes)
}

// deliveryEvery is how many writes there are to one whose delay is noted.
const deliveryEvery = 16

// note notes how long ago the oldest event of a write was published.
func (c *consumer) note(published int64) {
	if c.writes++; c.writes%deliveryEvery == 0 && published != 0 {
		c.server.metrics.delivery.Observe(float64(time.Now().UnixNano()-published) / 1e9)
	}
}

// pace waits when a consumer was sent more from files than its rate allows.
func (c *consumer) pace(t Tier, bytes int) string {
	if t == Memory {
		return ""
	}
	wait := c.limit.after(bytes)
	if wait == 0 {
		return ""
	}
	if wait >= writeStep || c.reader.wanted() {
		c.reader.Idle()
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for {
		if reason := c.attend(false, c.server.stopping.Load()); reason != "" {
			return reason
		}
		select {
		case <-timer.C:
			return ""
		case <-c.reader.wake:
		}
	}
}

// waited decides about a write that failed, most often for its deadline: b is what is left,
// of which done bytes of the first event were written.
func (c *consumer) waited(err error, idle time.Duration, b Batch, done int) string {
	reason := c.failed(err, idle)
	if reason == reasonStalled {
		c.tooSlow(b, done)
	}
	return reason
}

// failed says why a write that failed ends the connection, "" where it may go on. Nothing
// was accepted for the time idle.
func (c *consumer) failed(err error, idle time.Duration) string {
	switch {
	case !errors.Is(err, os.ErrDeadlineExceeded):
		return reasonLeft
	case c.server.stopping.Load():
		return reasonShutdown
	case idle < c.server.opts.StallTimeout:
		return ""
	}
	return reasonStalled
}

// tooSlow tells a consumer that it is given up, if it still takes that: the rest of the
// frame it is in, an error frame and a close.
func (c *consumer) tooSlow(b Batch, done int) {
	var words []byte
	if done > 0 {
		words = append(words, b.run.buf[b.run.begin(b.from)+done:b.run.events[b.from].end]...)
	}
	words = appendFrame(words, opBinary, ErrorMessage(ConsumerTooSlow, "no byte was accepted for "+c.server.opts.StallTimeout.String()))
	words = appendClose(words, closePolicy, ConsumerTooSlow)
	if err := c.socket.conn.SetWriteDeadline(time.Now().Add(lastWords)); err == nil {
		_, _ = c.socket.conn.Write(words) // it most likely takes nothing
	}
}

// write sends small frames that are not of the log.
func (c *consumer) write(frames []byte) string {
	for progress := time.Now(); ; {
		now := time.Now()
		err := c.socket.until(now, c.server.step())
		n := 0
		if err == nil {
			n, err = c.socket.conn.Write(frames)
		}
		if err == nil {
			return ""
		}
		if n > 0 {
			progress = now
		}
		frames = frames[n:]
		if reason := c.failed(err, now.Sub(progress)); reason != "" {
			return reason
		}
		c.reader.Idle() // others may want its memory before this is taken
	}
}
