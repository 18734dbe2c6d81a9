package main

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"github.com/cistern-archive/cistern/internal/frame"
)

// listener is a live consumer that notes how old each event is when it arrives, by the
// time that its host wrote into it. Hosts, relay and listener share one clock.
type listener struct {
	conn  *websocket.Conn
	began time.Time
	wg    sync.WaitGroup

	mu       sync.Mutex
	arrivals []arrival
	err      error
}

type arrival struct {
	at  time.Duration // since began
	age time.Duration
}

// listen consumes a relay's stream from now on.
func listen(ctx context.Context, addr string, began time.Time) (*listener, error) {
	conn, _, err := websocket.DefaultDialer.DialContext(ctx, "ws://"+addr+"/xrpc/com.atproto.sync.subscribeRepos", nil) //nolint:bodyclose // the library says that it need not be
	if err != nil {
		return nil, fmt.Errorf("listener: %w", err)
	}
	l := &listener{conn: conn, began: began}
	l.wg.Go(func() {
		err := l.run()
		l.mu.Lock()
		defer l.mu.Unlock()
		l.err = err
	})
	return l, nil
}

func (l *listener) run() error {
	var ev frame.Event
	for {
		_, raw, err := l.conn.ReadMessage()
		if err != nil {
			return fmt.Errorf("listener: %w", err)
		}
		now := time.Now()
		if err := frame.ParseInto(raw, &ev); err != nil {
			return fmt.Errorf("listener: %w", err)
		}
		made, err := time.Parse(time.RFC3339Nano, ev.Time)
		if err != nil {
			return fmt.Errorf("listener: %w", err)
		}
		l.mu.Lock()
		l.arrivals = append(l.arrivals, arrival{now.Sub(l.began), now.Sub(made)})
		l.mu.Unlock()
	}
}

// between returns the ages of what arrived in a span of time.
func (l *listener) between(from, to time.Duration) (latencies, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out latencies
	for _, a := range spanOf(l.arrivals, from, to, func(a arrival) time.Duration { return a.at }) {
		out.took = append(out.took, a.age)
	}
	slices.Sort(out.took)
	return out, l.err
}

// end closes the connection.
func (l *listener) end() {
	l.conn.Close()
	l.wg.Wait()
}
