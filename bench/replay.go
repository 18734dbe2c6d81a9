package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"golang.org/x/sync/errgroup"
)

// memoryMetric counts what Cistern served from memory, which is not what replay is
// about.
const memoryMetric = `cistern_replay_events_total{tier="memory"}`

// replay measures rounds of replay, the relays in turn, over logs made before.
//
// From the hot tier, relays go on running after they logged the events, and consumers
// read the first three quarters: the rest may be in a relay's own memory. From the
// sealed tier each round starts the relay anew, waits until it has sealed what was
// still hot, and reads everything. Either way a first, unmeasured replay brings the
// log into the page cache.
func (s *session) replay(ctx context.Context) ([]series, error) {
	logs := make([]*replayLog, len(s.subjects))
	defer func() {
		for _, l := range logs {
			if l != nil && l.line != nil {
				l.end()
			}
		}
	}()
	for i, sub := range s.subjects {
		var err error
		if logs[i], err = s.makeLog(ctx, sub, filepath.Join(s.dir, fmt.Sprintf("replay-%d", i))); err != nil {
			return nil, err
		}
		progress("%s has logged %d events to replay", sub.name(), s.total)
	}
	counts := []int{1}
	if s.consumers > 1 {
		counts = append(counts, s.consumers)
	}
	out := make([]series, len(counts))
	for c, n := range counts {
		out[c] = series{title: fmt.Sprintf("replay, %d consumers", n), samples: make([][]sample, len(s.subjects))}
		if n == 1 {
			out[c].title = "replay, 1 consumer"
		}
	}
	for round := range s.rounds {
		for i, sub := range s.subjects {
			these, err := s.replayRound(ctx, logs[i], counts)
			if err != nil {
				return nil, fmt.Errorf("replay, %s: %w", sub.name(), err)
			}
			for c, one := range these {
				out[c].samples[i] = append(out[c].samples[i], one)
				progress("%s %d/%d %s: %.0f events/s, %.2f µs CPU an event", out[c].title, round+1, s.rounds, sub.name(), one.perSecond(), one.cpuPerEvent())
			}
		}
	}
	if s.profile == "" {
		return out, nil
	}
	return out, s.profileReplay(ctx, logs[0])
}

// replayLog is a log to replay and, in the hot tier, the relay that serves it all
// the time.
type replayLog struct {
	sub  subject
	dir  string
	line *line
}

func (l *replayLog) end() { l.line.end() }

// makeLog makes a relay log all events.
func (s *session) makeLog(ctx context.Context, sub subject, dir string) (*replayLog, error) {
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	l := &replayLog{sub: sub, dir: dir}
	line, err := s.connect(ctx, sub, dir)
	if err != nil {
		return nil, err
	}
	if _, err := s.fill(ctx, line); err != nil {
		line.end()
		return nil, fmt.Errorf("log to replay, %s: %w", sub.name(), err)
	}
	if s.tier == tierHot {
		l.line = line
		return l, nil
	}
	defer line.end()
	return l, line.stop()
}

// serve returns the relay that serves a log, and what ends it if it was started for
// this.
func (s *session) serve(ctx context.Context, l *replayLog) (*relay, func(), error) {
	if l.line != nil {
		return l.line.relay, func() {}, s.warm(ctx, l.line.relay)
	}
	r, err := l.sub.start(ctx, l.dir, nil)
	if err != nil {
		return nil, nil, err
	}
	if err := s.warm(ctx, r); err != nil {
		r.kill()
		return nil, nil, err
	}
	return r, r.kill, nil
}

func (s *session) warm(ctx context.Context, r *relay) error {
	if err := r.settle(ctx); err != nil {
		return err
	}
	return s.consumeAll(ctx, r, 1)
}

// share is how many events each consumer reads.
func (s *session) share() int {
	if s.tier == tierHot {
		return s.total * 3 / 4
	}
	return s.total
}

// replayRound replays a log to each number of consumers.
func (s *session) replayRound(ctx context.Context, l *replayLog, counts []int) (out []sample, err error) {
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	r, end, err := s.serve(ctx, l)
	if err != nil {
		return nil, fmt.Errorf("before the measurement: %w", err)
	}
	defer end()
	before, _ := r.metric(ctx, memoryMetric) // the other relay has no such metric: both are 0
	for _, n := range counts {
		one, err := watch(r, func() error { return s.consumeAll(ctx, r, n) })
		if err != nil {
			return nil, fmt.Errorf("%d consumers: %w", n, err)
		}
		one.events, one.logged = n*s.share(), s.total
		out = append(out, one)
		if err := r.settle(ctx); err != nil {
			return nil, err
		}
	}
	if after, _ := r.metric(ctx, memoryMetric); after > before {
		return nil, fmt.Errorf("%.0f events came from memory: with -n %d too few are on disk alone", after-before, s.total)
	}
	return out, nil
}

// consumeAll reads the log with n consumers together.
func (s *session) consumeAll(ctx context.Context, r *relay, n int) error {
	var g errgroup.Group
	for range n {
		g.Go(func() error { return consume(ctx, r.addr, s.share(), s.total) })
	}
	return g.Wait()
}

// profileReplay takes profiles of Cistern that replays to one consumer, again and
// again.
func (s *session) profileReplay(ctx context.Context, l *replayLog) error {
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	r, end, err := s.serve(ctx, l)
	if err != nil {
		return err
	}
	defer end()
	taken := make(chan error, 1)
	go func() { taken <- s.takeProfiles(ctx, r, "replay") }()
	for {
		if err := s.consumeAll(ctx, r, 1); err != nil {
			cancel()
			return errors.Join(err, <-taken)
		}
		select {
		case err := <-taken:
			return err
		default:
		}
	}
}
