package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// fanoutOptions is what a fan-out can be told.
type fanoutOptions struct {
	scaleOptions
	command   string
	consumers int
	listeners int // of them, those that note how old each event is
	peer      string
	relay     string // more flags for Cistern
}

// grace is how long consumers have after the last event before they are behind.
const grace = 2 * time.Second

func fanoutDefaults(command string) fanoutOptions {
	o := fanoutOptions{scaleOptions: scaleDefaults(), command: command, consumers: 500, listeners: 10, peer: peerReference}
	o.spec = crowdSpec{Hosts: 8, Accounts: 50, Records: 100, Rate: 500, Seed: 1, Addresses: 1, Settled: true, Named: true}
	if command == "latency" {
		o.consumers = o.listeners
	}
	return o
}

func runFanout(ctx context.Context, command string, args []string) error {
	o := fanoutDefaults(command)
	f := flag.NewFlagSet("bench "+command, flag.ContinueOnError)
	o.fanFlags(f)
	f.IntVar(&o.consumers, "consumers", o.consumers, "live consumers")
	f.IntVar(&o.rounds, "rounds", o.rounds, "rounds; figures are medians over them")
	f.DurationVar(&o.lasting, "for", o.lasting, "how long is measured without consumers, and again with them")
	f.StringVar(&o.peer, "peer", o.peer, `what to compare with: "reference", the reference relay, or "" for nothing`)
	if err := f.Parse(args); err != nil {
		return err
	}
	if err := o.checkFan(f, o.consumers); err != nil {
		return err
	}
	return o.inWorkDir(ctx, func(dir string, c *cistern) error { return o.fanout(ctx, dir, c) })
}

// fanFlags are those that fanout and slow share.
func (o *fanoutOptions) fanFlags(f *flag.FlagSet) {
	f.IntVar(&o.spec.Hosts, "hosts", o.spec.Hosts, "simulated hosts")
	f.IntVar(&o.spec.Accounts, "accounts", o.spec.Accounts, "accounts a host")
	f.IntVar(&o.spec.Records, "records", o.spec.Records, "records an account has before, on average: sets the size of frames")
	f.Float64Var(&o.spec.Rate, "rate", o.spec.Rate, "events a second over all hosts")
	f.Uint64Var(&o.spec.Seed, "seed", o.spec.Seed, "seed of accounts and events")
	f.IntVar(&o.listeners, "listeners", o.listeners, "of the consumers, those that read an event when it comes and note its age")
	f.StringVar(&o.relay, "relay-flags", o.relay, "more flags for Cistern, separated by spaces")
	f.StringVar(&o.cistern, "cistern", o.cistern, "a cistern binary to measure (default: built from this module)")
	f.StringVar(&o.work, "work", o.work, "folder of what is written while measuring, on the disk to measure")
	f.BoolVar(&o.markdown, "markdown", o.markdown, "also print a section for docs/benchmarks.md")
}

// checkFan says what is wrong with the options. A consumer costs this process a socket,
// and the relay's another.
func (o *fanoutOptions) checkFan(f *flag.FlagSet, sockets int) error {
	if err := o.check(f); err != nil {
		return err
	}
	if o.listeners < 1 || o.consumers < o.listeners {
		return fmt.Errorf("-listeners %d must be above zero and no more than %d consumers", o.listeners, o.consumers)
	}
	if o.peer != "" && o.peer != peerReference {
		return fmt.Errorf("-peer %q is neither %q nor empty", o.peer, peerReference)
	}
	const spare = 500
	if limit, err := fileLimit(); err != nil || limit < uint64(sockets+spare) {
		return fmt.Errorf("%d consumers need %d open files in one process and the limit is %d (%w): ulimit -Hn", sockets, sockets+spare, limit, err)
	}
	return nil
}

// fanout measures rounds, the relays in turn, and reports them.
func (o *fanoutOptions) fanout(ctx context.Context, dir string, c *cistern) error {
	load := loadAverage()
	c.flags = append(c.flags, strings.Fields(o.relay)...)
	subjects := []subject{c}
	if o.peer == peerReference {
		r, err := installReference(ctx, dir)
		if err != nil {
			return err
		}
		subjects = append(subjects, r)
	}
	all := make([][]fanoutSample, len(subjects))
	for round := range o.rounds {
		for i, sub := range subjects {
			one, err := o.fanoutOnce(ctx, sub, filepath.Join(dir, fmt.Sprintf("fanout-%d-%d", i, round)))
			if err != nil {
				return fmt.Errorf("%s, %s: %w", o.command, sub.name(), err)
			}
			all[i] = append(all[i], one)
			progress("%s %d/%d %s: %.0f events/s, %.2f µs CPU a delivery, age p50 %.1f ms, p99 %.1f ms; %d behind, %d gone, %d missed", o.command, round+1, o.rounds,
				sub.name(), one.rate(), one.cpuPerDelivery(), one.age.at(0.5), one.age.at(0.99), one.then.behind, one.atLast.gone, one.atLast.missed)
		}
	}
	return o.reportFanout(os.Stdout, subjects, all, load)
}

// fanoutSample is what one round found of one relay.
type fanoutSample struct {
	alone, with sample // without consumers, with them; events are those logged
	deliveries  int    // while with was measured, by consumers that count
	age         latencies
	then        attendance // grace after what was measured
	atLast      attendance // after the last event
	peak        int64
	sent        float64 // p99 of the time from fsync to socket, seconds, at most; 0 where a relay does not tell
}

// deliveryMetric is Cistern's histogram of that time.
const deliveryMetric = "cistern_replay_delivery_seconds"

func (s fanoutSample) rate() float64 { return float64(s.with.events) / s.with.wall.Seconds() }

// cpuPerDelivery is in µs: what the consumers added, by the events of both spans.
func (s fanoutSample) cpuPerDelivery() float64 {
	alone := float64(s.alone.cpu) / float64(max(s.alone.events, 1)) * float64(s.with.events)
	return (float64(s.with.cpu) - alone) / 1e3 / float64(max(s.deliveries, 1))
}

// cpuUndiminished is in µs: everything the relay did, ingest included.
func (s fanoutSample) cpuUndiminished() float64 {
	return float64(s.with.cpu) / 1e3 / float64(max(s.deliveries, 1))
}

// fanoutOnce is a round of one relay: without consumers, then with them.
func (o *fanoutOptions) fanoutOnce(ctx context.Context, sub subject, dir string) (s fanoutSample, err error) {
	ctx, cancel := context.WithTimeout(ctx, 2*o.lasting+startWithin+2*hostPatience)
	defer cancel()
	st, err := o.startStage(ctx, sub, dir)
	if err != nil {
		return s, err
	}
	defer st.end()
	if err := st.emit(ctx, o.warmUp()); err != nil {
		return s, err
	}
	if s.alone, err = st.watchFor(ctx, o.lasting); err != nil {
		return s, err
	}
	if _, err := st.quiet(ctx); err != nil {
		return s, err
	}
	if err := o.withAudience(ctx, st, &s); err != nil {
		return s, err
	}
	if err := st.relay.stop(); err != nil {
		return s, err
	}
	return s, os.RemoveAll(dir)
}

// warmUp is how long events flow before anything is measured.
func (o *fanoutOptions) warmUp() time.Duration { return min(settleFor, o.lasting) }

// withAudience is the half of a round that has consumers.
func (o *fanoutOptions) withAudience(ctx context.Context, st *stage, s *fanoutSample) (err error) {
	first, err := st.relay.logged(ctx)
	if err != nil {
		return err
	}
	a, err := seatAudience(ctx, st.relay.addr, o.consumers-o.listeners)
	if err != nil {
		return err
	}
	defer a.end()
	ls, err := st.listeners(ctx, o.listeners)
	if err != nil {
		return err
	}
	defer ls.end()
	if err := st.relay.wait(ctx, grace); err != nil { // a relay may answer before it has seated a consumer
		return err
	}
	if err := st.emit(ctx, o.warmUp()); err != nil {
		return err
	}
	sentBefore, err := st.relay.histogram(ctx, deliveryMetric)
	if err != nil {
		return err
	}
	before, from := a.attendance(0).events, time.Since(st.began)
	if s.with, err = st.watchFor(ctx, o.lasting); err != nil {
		return err
	}
	to := time.Since(st.began)
	s.deliveries, s.peak = a.attendance(0).events-before, s.with.peak
	sentAfter, err := st.relay.histogram(ctx, deliveryMetric)
	if err != nil {
		return err
	}
	s.sent = quantileBetween(sentBefore, sentAfter, 0.99)
	tip, err := st.relay.logged(ctx)
	if err != nil {
		return err
	}
	if err := st.relay.wait(ctx, grace); err != nil {
		return err
	}
	s.then = attendanceOf(tip-first, a, ls)
	if s.age, err = ls.between(from, to); err != nil {
		return err
	}
	s.deliveries += len(s.age.took)
	last, err := st.quiet(ctx)
	if err != nil {
		return err
	}
	s.atLast, err = st.caughtUp(ctx, last-first, a, ls)
	return err
}
