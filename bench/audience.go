package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cistern-archive/cistern/internal/frame"
)

// audienceSpec is the consumers that an audience process plays, all of them live.
type audienceSpec struct {
	Addr      string
	Consumers int // that only count, and are read every pollEvery
	Samples   int // that look how old each event is, at once
}

// The commands to an audience, which says lineConnected when all are.
const (
	lineConnected = "connected"
	lineMark      = "mark"   // count from now on
	lineReport    = "report" // answered with an audienceReport
)

// audienceReport is what came since the mark.
type audienceReport struct {
	Events int     `json:"events"` // over all consumers
	Fewest int     `json:"fewest"` // of one consumer
	Most   int     `json:"most"`
	Closed int     `json:"closed"` // connections that ended
	P50    float64 `json:"p50"`    // age at a sample consumer, ms, from its host's clock
	P99    float64 `json:"p99"`
	Max    float64 `json:"max"`
	Err    string  `json:"err,omitempty"`
}

// pollEvery is how often those who only count are read: seldom, so that reading is cheap,
// and often enough for their sockets never to be full.
const pollEvery = 20 * time.Millisecond

// seat is one consumer of an audience.
type seat struct {
	conn   *net.TCPConn
	count  frameCounter
	events atomic.Int64
	marked atomic.Int64 // events at the mark
	closed atomic.Bool
}

// audience is the inside of the process.
type audience struct {
	spec  audienceSpec
	seats []*seat

	mu   sync.Mutex
	ages []time.Duration
	err  error
}

// serveAudience is the audience process.
func serveAudience(ctx context.Context, args []string) error {
	a := &audience{}
	if len(args) != 1 || json.Unmarshal([]byte(args[0]), &a.spec) != nil {
		return fmt.Errorf("audience takes one argument, its description as JSON: %q", args)
	}
	buf := make([]byte, readSize)
	for i := range a.spec.Consumers + a.spec.Samples {
		s, rest, err := takeSeat(ctx, a.spec.Addr, buf)
		if err != nil {
			return fmt.Errorf("consumer %d: %w", i, err)
		}
		a.seats = append(a.seats, s)
		if i < a.spec.Samples {
			go a.sample(s, bytes.Clone(rest)) // until the process ends
		} else if err := s.feed(rest); err != nil {
			return err
		}
	}
	go a.poll(buf)
	fmt.Println(lineConnected)
	for sc := bufio.NewScanner(os.Stdin); sc.Scan(); {
		switch sc.Text() {
		case lineMark:
			a.mark()
		case lineReport:
			if err := say(a.report()); err != nil {
				return err
			}
		default:
			return fmt.Errorf("unknown command %q", sc.Text())
		}
	}
	return nil
}

// takeSeat connects a live consumer.
func takeSeat(ctx context.Context, addr string, buf []byte) (*seat, []byte, error) {
	var d net.Dialer
	dialled, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, nil, err
	}
	conn, ok := dialled.(*net.TCPConn)
	if !ok {
		return nil, nil, fmt.Errorf("a %T", dialled)
	}
	rest, err := upgrade(conn, addr, "", buf)
	if err != nil {
		return nil, nil, err
	}
	return &seat{conn: conn}, rest, conn.SetDeadline(time.Time{})
}

func (s *seat) feed(p []byte) error {
	err := s.count.feed(p)
	s.events.Store(int64(s.count.events))
	return err
}

// sample reads a consumer's events as they come and notes how old they are.
func (a *audience) sample(s *seat, rest []byte) {
	r := bufio.NewReaderSize(&prefixed{rest, s.conn}, 64<<10)
	var ev frame.Event
	for {
		payload, err := readMessage(r)
		if err != nil {
			s.closed.Store(true)
			a.note(err)
			return
		}
		now := time.Now()
		s.events.Add(1)
		if err := frame.ParseInto(payload, &ev); err != nil {
			a.note(fmt.Errorf("%w: %q", err, payload[:min(len(payload), 200)]))
			continue
		}
		made, err := time.Parse(time.RFC3339Nano, ev.Time)
		if err != nil {
			a.note(err)
			continue
		}
		a.mu.Lock()
		a.ages = append(a.ages, now.Sub(made))
		a.mu.Unlock()
	}
}

func (a *audience) note(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.err == nil {
		a.err = err
	}
}

// poll reads those who only count.
func (a *audience) poll(buf []byte) {
	for range time.Tick(pollEvery) {
		for _, s := range a.seats[a.spec.Samples:] {
			if s.closed.Load() {
				continue
			}
			if err := s.drain(buf); err != nil {
				s.closed.Store(true)
				a.note(err)
			}
		}
	}
}

// drain reads what is there, without waiting.
func (s *seat) drain(buf []byte) error {
	raw, err := s.conn.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Read(func(fd uintptr) bool {
		for {
			n, _, err := unix.Recvfrom(int(fd), buf, unix.MSG_DONTWAIT)
			switch {
			case errors.Is(err, unix.EAGAIN):
				return true
			case err != nil || n == 0:
				failed = fmt.Errorf("the relay closed the connection: %w", errors.Join(err, net.ErrClosed))
				return true
			}
			if failed = s.feed(buf[:n]); failed != nil || n < len(buf) {
				return true
			}
		}
	})
	return errors.Join(err, failed)
}

func (a *audience) mark() {
	for _, s := range a.seats {
		s.marked.Store(s.events.Load())
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.ages = a.ages[:0]
}

func (a *audience) report() audienceReport {
	var r audienceReport
	for i, s := range a.seats {
		n := int(s.events.Load() - s.marked.Load())
		r.Events += n
		if i == 0 || n < r.Fewest {
			r.Fewest = n
		}
		r.Most = max(r.Most, n)
		if s.closed.Load() {
			r.Closed++
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	l := latencies{took: slices.Sorted(slices.Values(a.ages))}
	r.P50, r.P99, r.Max = l.at(0.5), l.at(0.99), l.at(1)
	if a.err != nil {
		r.Err = a.err.Error()
	}
	return r
}
