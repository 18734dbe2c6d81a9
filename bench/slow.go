package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// slowOptions is what a run among consumers that do not keep up can be told.
type slowOptions struct {
	fanoutOptions
	before time.Duration // how long the good consumers are measured alone
	crawl  int           // events a second that the slow one reads
	pause  time.Duration // of the one that pauses
	deaf   int           // sockets that never read
}

func slowDefaults() slowOptions {
	o := slowOptions{fanoutOptions: fanoutDefaults("slow"), before: 30 * time.Second, crawl: 100, pause: 2 * time.Minute, deaf: 200}
	o.spec.Rate, o.rounds, o.lasting, o.peer, o.consumers = 2000, 1, 3*time.Minute, "", o.listeners
	return o
}

func runSlow(ctx context.Context, args []string) error {
	o := slowDefaults()
	f := flag.NewFlagSet("bench slow", flag.ContinueOnError)
	o.fanFlags(f)
	f.DurationVar(&o.before, "before", o.before, "how long the good consumers are measured alone")
	f.DurationVar(&o.lasting, "for", o.lasting, "how long they are measured beside the others")
	f.IntVar(&o.crawl, "crawl", o.crawl, "events a second that the slow consumer reads")
	f.DurationVar(&o.pause, "pause", o.pause, "how long one consumer reads nothing before it goes on; no more than -for")
	f.IntVar(&o.deaf, "deaf", o.deaf, "consumers that never read")
	if err := f.Parse(args); err != nil {
		return err
	}
	o.consumers = o.listeners
	if err := o.checkFan(f, o.listeners+o.deaf); err != nil {
		return err
	}
	if o.before <= 0 || o.crawl < 1 || o.pause <= 0 || o.pause > o.lasting || o.deaf < 0 {
		return errors.New("-before, -crawl and -pause must be above zero, -pause no more than -for, and -deaf not below zero")
	}
	return o.inWorkDir(ctx, func(dir string, c *cistern) error {
		load := loadAverage()
		c.flags = append(c.flags, strings.Fields(o.relay)...)
		s, err := o.slowOnce(ctx, c, filepath.Join(dir, "slow"))
		if err != nil {
			return err
		}
		what := fmt.Sprintf("slow -for %s -before %s -crawl %d -pause %s -deaf %d", o.lasting, o.before, o.crawl, o.pause, o.deaf)
		return errors.Join(o.reportTable(os.Stdout, o.slowTable(s), what, load), s.judge())
	})
}

// slowHalf is what the good consumers and the relay were like for a while.
type slowHalf struct {
	sample
	age     latencies
	windows spread  // of the p99 of each ten seconds
	first   float64 // of the first of them, in which sockets that never read fill their buffers
}

// windowOf is how long each part is that a p99 is taken of: one bad second of the machine is
// then in one of them.
const windowOf = 10 * time.Second

// slowSample is what a run found.
type slowSample struct {
	before, beside slowHalf
	lag            int // events that the slow consumer was behind when its time was over
	lagPause       int // that the other was behind when it went on
	held           int // deaf sockets still connected at the end
	deaf           int
	missed         [3]int // events, by the good ones, the slow one, the one that paused
	gone           int    // of all these
}

// judge is an error when a consumer that reads was dropped or missed an event, or when
// one was not late at all.
func (s slowSample) judge() error {
	if s.missed != [3]int{} || s.gone > 0 {
		return fmt.Errorf("events missed: good %d, slow %d, paused %d; %d of these were dropped", s.missed[0], s.missed[1], s.missed[2], s.gone)
	}
	if s.lag <= 0 || s.lagPause <= 0 {
		return fmt.Errorf("nobody was late: the slow consumer was %d events behind, the one that paused %d", s.lag, s.lagPause)
	}
	return nil
}

// slowOnce measures good consumers alone, then beside the others, then lets those who
// read catch up.
func (o *slowOptions) slowOnce(ctx context.Context, sub subject, dir string) (s slowSample, err error) {
	ctx, cancel := context.WithTimeout(ctx, o.before+2*o.lasting+startWithin+2*hostPatience)
	defer cancel()
	st, err := o.startStage(ctx, sub, dir)
	if err != nil {
		return s, err
	}
	defer st.end()
	first, err := st.relay.logged(ctx)
	if err != nil {
		return s, err
	}
	ls, err := st.listeners(ctx, o.listeners)
	if err != nil {
		return s, err
	}
	defer ls.end()
	late, err := seatAudience(ctx, st.relay.addr, 2)
	if err != nil {
		return s, err
	}
	defer late.end()
	if err := st.emit(ctx, o.warmUp()); err != nil {
		return s, err
	}
	if s.before, err = st.half(ctx, ls, o.before); err != nil {
		return s, err
	}
	if err := o.beside(ctx, st, ls, late, first, &s); err != nil {
		return s, err
	}
	last, err := st.quiet(ctx)
	if err != nil {
		return s, err
	}
	if err := s.count(ctx, st, ls, late, last-first); err != nil {
		return s, err
	}
	if err := st.relay.stop(); err != nil {
		return s, err
	}
	return s, os.RemoveAll(dir)
}

// half measures the good consumers and the relay for a while.
func (st *stage) half(ctx context.Context, ls listeners, d time.Duration) (h slowHalf, err error) {
	from := time.Since(st.began)
	if h.sample, err = st.watchFor(ctx, d); err != nil {
		return h, err
	}
	to := time.Since(st.began)
	if h.age, err = ls.between(from, to); err != nil {
		return h, err
	}
	var tails []float64
	for at := from; at+windowOf <= to; at += windowOf {
		part, err := ls.between(at, at+windowOf)
		if err != nil {
			return h, err
		}
		tails = append(tails, part.at(0.99))
	}
	if len(tails) > 0 {
		h.windows, h.first = spreadOf(tails), tails[0]
	}
	return h, nil
}

// beside measures the good consumers while the others do what they do.
func (o *slowOptions) beside(ctx context.Context, st *stage, ls listeners, late *audience, first int, s *slowSample) error {
	deaf, err := seatDeaf(ctx, st.relay.addr, o.deaf)
	if err != nil {
		return err
	}
	defer deaf.end()
	slow, paused := late.seats[0], late.seats[1]
	at, _ := slow.had()
	slow.allow(at)
	paused.allow(0)
	going, stop := context.WithCancel(ctx)
	var dawdling sync.WaitGroup
	dawdling.Go(func() { o.dawdle(going, st, slow, paused, at, first, s) })
	s.beside, err = st.half(ctx, ls, o.lasting)
	stop()
	dawdling.Wait()
	if err != nil {
		return err
	}
	tip, err := st.relay.logged(ctx)
	if err != nil {
		return err
	}
	n, _ := slow.had()
	s.lag, s.deaf = tip-first-n, o.deaf
	for _, d := range deaf.seats {
		if d.connected() {
			s.held++
		}
	}
	return nil
}

// dawdle lets the slow consumer read at its pace, and the other go on after its pause.
func (o *slowOptions) dawdle(ctx context.Context, st *stage, slow, paused *seat, at, first int, s *slowSample) {
	began := time.Now()
	every(ctx, 20*time.Millisecond, func() {
		slow.allow(at + int(time.Since(began).Seconds()*float64(o.crawl)))
		if s.lagPause != 0 || time.Since(began) < o.pause {
			return
		}
		tip, failed := st.relay.logged(ctx)
		if failed != nil {
			return // the next time
		}
		n, _ := paused.had()
		s.lagPause = tip - first - n
		paused.allow(-1)
	})
}

// count lets the late ones read on, and counts what anybody missed.
func (s *slowSample) count(ctx context.Context, st *stage, ls listeners, late *audience, want int) error {
	for _, one := range late.seats {
		one.allow(-1)
	}
	if _, err := st.caughtUp(ctx, want, late, ls); err != nil {
		return err
	}
	good := ls.attendance(want)
	s.missed[0], s.gone = good.missed, good.gone
	for i, one := range late.seats {
		n, err := one.had()
		s.missed[i+1] = max(want-n, 0)
		if err != nil {
			s.gone++
		}
	}
	return nil
}
