package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

const (
	// sweepEvery is how often every socket of an audience is read: far rarer than events
	// come, so that a read takes several and the readers leave the cores to the relay.
	sweepEvery = 30 * time.Millisecond
	// pongEvery is how often each says that it is alive, asked or not (RFC 6455, 5.5.3).
	pongEvery = 20 * time.Second
	// dialsAtOnce bounds the handshakes that are under way.
	dialsAtOnce = 32
)

// seat is a live consumer that counts messages by their WebSocket headers. Its goroutine
// is the audience's.
type seat struct {
	conn net.Conn
	raw  syscall.RawConn

	mu      sync.Mutex
	counter frameCounter
	limit   int   // events that it may have read by now; below zero: no limit
	err     error // why it ended
}

// audience is many consumers that one goroutine reads in turn, without waiting for any.
type audience struct {
	seats []*seat
	stop  chan struct{}
	wg    sync.WaitGroup
}

// seatAudience connects n live consumers to a relay and reads them until end.
func seatAudience(ctx context.Context, addr string, n int) (*audience, error) {
	a, err := seatDeaf(ctx, addr, n)
	if err == nil {
		a.wg.Go(a.sweep)
	}
	return a, err
}

// seatDeaf connects n live consumers that nobody reads.
func seatDeaf(ctx context.Context, addr string, n int) (*audience, error) {
	a := &audience{seats: make([]*seat, n), stop: make(chan struct{})}
	var g errgroup.Group
	g.SetLimit(dialsAtOnce)
	for i := range a.seats {
		g.Go(func() (err error) {
			a.seats[i], err = takeSeat(ctx, addr)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		a.end()
		return nil, err
	}
	return a, nil
}

// takeSeat connects one live consumer.
func takeSeat(ctx context.Context, addr string) (*seat, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("consumer: %w", err)
	}
	s := &seat{conn: conn, limit: -1}
	rest, err := upgrade(conn, addr, "", make([]byte, maxAnswer))
	if err == nil {
		err = s.counter.feed(rest)
	}
	if err == nil {
		err = conn.SetDeadline(time.Time{})
	}
	if err == nil {
		if tcp, ok := conn.(*net.TCPConn); ok {
			s.raw, err = tcp.SyscallConn()
		} else {
			err = fmt.Errorf("a %T", conn)
		}
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("consumer: %w", err), conn.Close())
	}
	return s, nil
}

// sweep reads all sockets, again and again.
func (a *audience) sweep() {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	buf, alive := make([]byte, readSize), time.Now()
	for {
		select {
		case <-a.stop:
			return
		case <-tick.C:
		}
		pong := time.Since(alive) > pongEvery
		if pong {
			alive = time.Now()
		}
		for _, s := range a.seats {
			s.read(buf, pong)
		}
	}
}

// read takes what is there, as far as the seat may.
func (s *seat) read(buf []byte, pong bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil || (s.limit >= 0 && s.counter.events >= s.limit) {
		return
	}
	if s.limit >= 0 {
		buf = buf[:16<<10] // few events: hardly more than it may
	}
	var n int
	var failed error
	if err := s.raw.Read(func(fd uintptr) bool {
		n, failed = unix.Read(int(fd), buf)
		return true
	}); err != nil {
		failed = err
	}
	switch {
	case errors.Is(failed, unix.EAGAIN) || errors.Is(failed, unix.EINTR):
	case failed != nil:
		s.err = failed
	case n == 0:
		s.err = io.EOF
	default:
		s.err = s.counter.feed(buf[:n])
	}
	if pong && s.err == nil {
		_, s.err = s.conn.Write([]byte{0x8a, 0x80, 0, 0, 0, 0}) // empty, masked with zeros
	}
}

// had says how many events a seat has had, and why it ended, if it has.
func (s *seat) had() (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counter.events, s.err
}

// allow sets how many events a seat may have read in all; below zero is no limit.
func (s *seat) allow(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.limit = n
}

// connected says whether the relay still holds a seat's connection, whatever is unread.
func (s *seat) connected() bool {
	state := uint8(0)
	err := s.raw.Control(func(fd uintptr) {
		if info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			state = info.State
		}
	})
	return err == nil && state == unix.BPF_TCP_ESTABLISHED
}

// attendance is how an audience stands against the number of events that there were.
type attendance struct {
	events int // that all had together
	behind int // consumers connected that had fewer
	gone   int // consumers that are no longer connected
	missed int // events, over all consumers
}

// attendant is consumers that can be counted.
type attendant interface {
	attendance(want int) attendance
}

// attendanceOf sums.
func attendanceOf(want int, of ...attendant) (sum attendance) {
	for _, some := range of {
		one := some.attendance(want)
		sum.events += one.events
		sum.behind += one.behind
		sum.gone += one.gone
		sum.missed += one.missed
	}
	return sum
}

// add counts a consumer that has had so many events, and ended if err is not nil.
func (t *attendance) add(want, had int, err error) {
	t.events += had
	t.missed += max(want-had, 0)
	switch {
	case err != nil:
		t.gone++
	case had < want:
		t.behind++
	}
}

func (a *audience) attendance(want int) (out attendance) {
	for _, s := range a.seats {
		had, err := s.had()
		out.add(want, had, err)
	}
	return out
}

// end closes all connections.
func (a *audience) end() {
	close(a.stop)
	a.wg.Wait()
	for _, s := range a.seats {
		if s != nil {
			_ = s.conn.Close() // nothing is lost
		}
	}
}
