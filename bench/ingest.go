package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// ingest measures rounds of ingest, the relays in turn.
func (s *session) ingest(ctx context.Context) ([]series, error) {
	out := series{title: "ingest", samples: make([][]sample, len(s.subjects)), disk: true}
	for round := range s.rounds {
		for i, sub := range s.subjects {
			one, err := s.ingestOnce(ctx, sub, filepath.Join(s.dir, fmt.Sprintf("ingest-%d-%d", i, round)))
			if err != nil {
				return nil, err
			}
			out.samples[i] = append(out.samples[i], one)
			progress("ingest %d/%d %s: %.0f events/s, %.1f µs CPU an event", round+1, s.rounds, sub.name(), one.perSecond(), one.cpuPerEvent())
		}
	}
	if s.profile == "" {
		return []series{out}, nil
	}
	return []series{out}, s.profileIngest(ctx, filepath.Join(s.dir, "profile"))
}

// ingestOnce makes a relay log all frames in an empty data directory, and removes
// that.
func (s *session) ingestOnce(ctx context.Context, sub subject, dir string) (one sample, err error) {
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	l, err := s.connect(ctx, sub, dir)
	if err != nil {
		return one, err
	}
	defer l.end()
	if one, err = s.fill(ctx, l); err != nil {
		return one, fmt.Errorf("ingest, %s: %w", sub.name(), err)
	}
	if err := l.stop(); err != nil {
		return one, err
	}
	if one.disk, err = dirSize(filepath.Join(dir, "data")); err != nil {
		return one, err
	}
	return one, os.RemoveAll(dir)
}

// line is a relay with its upstream.
type line struct {
	*relay
	up *upstream
}

func (l *line) end() {
	l.kill()
	l.up.end()
}

// connect starts hosts and a relay with an empty data directory, and waits until
// the relay has subscribed to all of them.
func (s *session) connect(ctx context.Context, sub subject, dir string) (*line, error) {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return nil, err
	}
	up, err := startUpstream(ctx, dir, s.frames)
	if err != nil {
		return nil, err
	}
	s.total, s.bytes = up.Events, up.Bytes
	r, err := sub.start(ctx, dir, up)
	if err != nil {
		up.end()
		return nil, err
	}
	l := &line{relay: r, up: up}
	if err := up.subscribed(ctx); err != nil {
		l.end()
		return nil, fmt.Errorf("%w; the end of the relay's log:\n%s", err, r.tail())
	}
	return l, nil
}

// fill publishes all frames and waits until they are logged. The time is until
// then; the CPU goes on until the relay has also done what it does behind that, such
// as sealing.
func (s *session) fill(ctx context.Context, l *line) (sample, error) {
	var wall time.Duration
	one, err := watch(l.relay, func() error {
		began := time.Now()
		if err := l.up.publish(); err != nil {
			return err
		}
		if err := l.waitLogged(ctx, s.total); err != nil {
			return err
		}
		wall = time.Since(began)
		return l.settle(ctx)
	})
	one.events, one.logged, one.wall = s.total, s.total, wall
	return one, err
}

// profileIngest takes profiles of Cistern in a round of its own.
func (s *session) profileIngest(ctx context.Context, dir string) error {
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	l, err := s.connect(ctx, s.subjects[0], dir)
	if err != nil {
		return err
	}
	defer l.end()
	taken, heaps := make(chan error, 1), make(chan error, 1)
	filling, filled := context.WithCancel(ctx)
	go func() { taken <- s.takeProfiles(ctx, l.relay, "ingest") }()
	go func() { heaps <- s.takeHeaps(filling, l.relay, "ingest") }()
	_, err = s.fill(ctx, l)
	filled()
	return errors.Join(err, <-taken, <-heaps)
}
