package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
)

// stage is a relay that reads from a crowd, for consumers to come.
type stage struct {
	crowd *crowd
	relay *relay
	began time.Time
}

// startStage starts a crowd and a relay, and waits until the relay has subscribed to
// every host and has logged an event of every account.
func (o *fanoutOptions) startStage(ctx context.Context, sub subject, dir string) (*stage, error) {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return nil, err
	}
	st := &stage{began: time.Now()}
	if err := st.start(ctx, sub, dir, o.spec); err != nil {
		st.end()
		return nil, err
	}
	return st, nil
}

func (st *stage) start(ctx context.Context, sub subject, dir string, spec crowdSpec) (err error) {
	if st.crowd, err = startCrowd(ctx, dir, spec); err != nil {
		return err
	}
	from := &upstream{talker: st.crowd.talker, announcement: announcement{PLC: st.crowd.PLC}}
	for _, h := range st.crowd.Hosts {
		from.Hosts = append(from.Hosts, strings.TrimPrefix(h, "http://"))
	}
	if st.relay, err = sub.start(ctx, dir, from); err != nil {
		return err
	}
	var failed error
	err = st.relay.until(ctx, "not connected to all hosts", func() (bool, time.Duration) {
		var n crowdCount
		n, failed = st.crowd.count(ctx)
		return failed != nil || n.Subscribed == spec.Hosts, 50 * time.Millisecond
	})
	if err := errors.Join(err, failed); err != nil {
		return err
	}
	if err := st.crowd.tell(lineBacklog); err != nil {
		return err
	}
	_, err = st.quiet(ctx)
	return err
}

// emit makes hosts send events from now on, and lets them flow for a while.
func (st *stage) emit(ctx context.Context, warmUp time.Duration) error {
	if err := st.crowd.tell(lineEmit); err != nil {
		return err
	}
	return st.relay.wait(ctx, warmUp)
}

// quiet makes hosts send no more, waits until the relay has logged everything, and
// returns how many events that is.
func (st *stage) quiet(ctx context.Context) (int, error) {
	var n crowdCount
	if err := st.crowd.ask(ctx, &n, lineQuiet); err != nil {
		return 0, err
	}
	if n.Err != "" {
		return 0, fmt.Errorf("crowd: %s", n.Err)
	}
	return n.Events, st.relay.waitLogged(ctx, n.Events)
}

// watchFor measures the relay for a while.
func (st *stage) watchFor(ctx context.Context, d time.Duration) (sample, error) {
	before, err := st.relay.logged(ctx)
	if err != nil {
		return sample{}, err
	}
	s, err := watch(st.relay, func() error { return st.relay.wait(ctx, d) })
	if err != nil {
		return s, err
	}
	after, err := st.relay.logged(ctx)
	s.events, s.logged = after-before, after
	return s, err
}

// caughtUp waits until every consumer has had want events or is gone, as long as any
// of them gets one.
func (st *stage) caughtUp(ctx context.Context, want int, of ...attendant) (out attendance, err error) {
	had, moved := -1, time.Now()
	err = st.relay.until(ctx, "consumers are behind", func() (bool, time.Duration) {
		if out = attendanceOf(want, of...); out.events > had {
			had, moved = out.events, time.Now()
		}
		return out.behind == 0 || time.Since(moved) > quiet, 50 * time.Millisecond
	})
	return out, err
}

// end ends both processes.
func (st *stage) end() {
	if st.relay != nil && st.relay.process != nil {
		st.relay.kill()
	}
	if st.crowd != nil {
		st.crowd.end()
	}
}

// listeners are live consumers that note ages.
type listeners []*listener

func (st *stage) listeners(ctx context.Context, n int) (ls listeners, err error) {
	for range n {
		l, err := listen(ctx, st.relay.addr, st.began)
		if err != nil {
			ls.end()
			return nil, err
		}
		ls = append(ls, l)
	}
	return ls, nil
}

// between returns the ages of what arrived at any of them in a span of time.
func (ls listeners) between(from, to time.Duration) (all latencies, err error) {
	for _, l := range ls {
		one, failed := l.between(from, to)
		all.took = append(all.took, one.took...)
		err = errors.Join(err, failed)
	}
	slices.Sort(all.took)
	return all, err
}

func (ls listeners) attendance(want int) (out attendance) {
	for _, l := range ls {
		l.mu.Lock()
		out.add(want, len(l.arrivals), l.err)
		l.mu.Unlock()
	}
	return out
}

func (ls listeners) end() {
	for _, l := range ls {
		l.end()
	}
}
