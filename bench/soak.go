package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// soakOptions is what a long run can be told.
type soakOptions struct {
	scaleOptions
	plot string
}

func runSoak(ctx context.Context, args []string) error {
	o := soakOptions{scaleOptions: scaleDefaults()}
	o.rounds, o.lasting = 1, 90*time.Minute
	o.spec.Accidents, o.spec.Down = time.Second, 20*time.Second
	f := flag.NewFlagSet("bench soak", flag.ContinueOnError)
	o.flags(f)
	f.DurationVar(&o.lasting, "for", o.lasting, "how long accidents happen")
	f.DurationVar(&o.spec.Accidents, "accidents", o.spec.Accidents, "mean time from one accident to the next, over all hosts")
	f.DurationVar(&o.spec.Down, "down", o.spec.Down, "the longest that a host is away or stalled")
	f.StringVar(&o.plot, "plot", o.plot, "draw what was measured into this SVG file")
	if err := f.Parse(args); err != nil {
		return err
	}
	if err := o.check(f); err != nil {
		return err
	}
	if o.spec.Accidents <= 0 || o.spec.Down <= 0 {
		return errors.New("-accidents and -down must be above zero")
	}
	return o.inWorkDir(ctx, func(dir string, c *cistern) error { return o.soak(ctx, filepath.Join(dir, "soak"), c) })
}

// soakResult is what a long run found.
type soakResult struct {
	began, ended time.Duration // of the accidents, since the relay's start
	quarters     [4]quarter
	again        time.Duration // after all connections were cut at once, until all hosts were connected
	counts       crowdCount
	verdict      crowdVerdict
}

// quarter is a quarter of the time in which accidents happened: medians, and for what
// never shrinks the highest.
type quarter struct {
	heap, resident, goroutines, files float64
	threads                           int
	health, idle                      latencies
}

// soak runs the relay among accidents, and is an error when something grew, was lost,
// or did not happen.
func (o *soakOptions) soak(ctx context.Context, dir string, c *cistern) error {
	load := loadAverage()
	progress("soak: seed %d, %s", o.spec.Seed, o.lasting)
	t, err := startTrial(ctx, c, dir, o.spec, o.profileStorm)
	if err != nil {
		return err
	}
	defer t.end()
	progress("soak: %d hosts connected after %.1f s", o.spec.Hosts, t.connected.Seconds())
	res, err := o.suffer(ctx, t)
	if err != nil {
		return err
	}
	if err := t.relay.stop(); err != nil {
		return err
	}
	if err := o.draw(t, res); err != nil {
		return err
	}
	return errors.Join(o.report(os.Stdout, t, res, load), res.judge())
}

// suffer lets accidents happen, and looks.
func (o *soakOptions) suffer(ctx context.Context, t *trial) (res soakResult, err error) {
	if err := t.relay.wait(ctx, o.lasting/10); err != nil { // caches fill
		return res, err
	}
	res.began = time.Since(t.began)
	if err := t.crowd.tell(lineAccidents); err != nil {
		return res, err
	}
	if err := t.relay.wait(ctx, o.lasting/2); err != nil {
		return res, err
	}
	if res.again, err = o.blackout(ctx, t); err != nil {
		return res, err
	}
	if err := t.relay.wait(ctx, max(o.lasting/2-res.again, o.lasting/4)); err != nil {
		return res, err
	}
	res.ended = time.Since(t.began)
	if err := o.takeProfiles(ctx, t); err != nil {
		return res, err
	}
	t.unwatch()
	if res.counts, res.verdict, err = t.compare(ctx); err != nil {
		return res, err
	}
	for i := range res.quarters {
		step := (res.ended - res.began) / 4
		res.quarters[i] = t.quarter(res.began+time.Duration(i)*step, res.began+time.Duration(i+1)*step)
	}
	return res, nil
}

// blackout cuts all connections at once, as a network that is away for a moment, and
// waits until all hosts have been connected again.
func (o *soakOptions) blackout(ctx context.Context, t *trial) (time.Duration, error) {
	began := time.Now()
	if err := t.crowd.tell(lineBlackout); err != nil {
		return 0, err
	}
	var failed error
	err := t.relay.until(ctx, "not connected again", func() (bool, time.Duration) {
		n, err := t.crowd.count(ctx)
		if err != nil {
			failed = err
			return true, 0
		}
		return n.Returned == o.spec.Hosts, 100 * time.Millisecond
	})
	took := time.Since(began)
	progress("soak: all %d connections cut; all hosts were back after %.1f s", o.spec.Hosts, took.Seconds())
	return took, errors.Join(err, failed)
}

// quarter sums up what was seen in a span of time.
func (t *trial) quarter(from, to time.Duration) quarter {
	q := quarter{health: t.health.between(from, to), idle: t.idle.between(from, to)}
	var heap, goroutines, resident, files []float64
	for _, s := range t.watcher.scrapesBetween(from, to) {
		heap, goroutines = append(heap, float64(s.heap)), append(goroutines, float64(s.goroutines))
	}
	for _, l := range t.watcher.looksBetween(from, to) {
		resident, files = append(resident, float64(l.resident)), append(files, float64(l.files))
		q.threads = max(q.threads, l.threads)
	}
	q.heap, q.goroutines, q.resident, q.files = median(heap), median(goroutines), median(resident), median(files)
	return q
}

// median of figures, 0 of none.
func median(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	return spreadOf(v).median
}

// soakRow compares the first quarter with the last. grown is how much more than in the
// first is not flat.
type soakRow struct {
	name     string
	of       func(quarter) float64
	decimals int
	grown    func(first float64) float64 // nil: reported only
}

func soakRows() []soakRow {
	const mb = 1e6
	share := func(f, more float64) func(float64) float64 {
		return func(first float64) float64 { return first*f + more }
	}
	return []soakRow{
		{"heap, median, MB", func(q quarter) float64 { return q.heap / mb }, 1, share(0.15, 5)},
		{"RSS, median, MB", func(q quarter) float64 { return q.resident / mb }, 1, share(0.15, 10)},
		{"goroutines, median", func(q quarter) float64 { return q.goroutines }, 0, share(0.05, 20)},
		{"OS threads, most", func(q quarter) float64 { return float64(q.threads) }, 0, share(0, 4)},
		{"open files, median", func(q quarter) float64 { return q.files }, 0, share(0.05, 20)},
		{"`/_health` p99, ms", func(q quarter) float64 { return q.health.at(0.99) }, 1, nil},
		{"… an idle server beside it, p99, ms", func(q quarter) float64 { return q.idle.at(0.99) }, 1, nil},
		{"… failed", func(q quarter) float64 { return float64(q.health.failed) }, 0, share(0, 0)},
	}
}

// judge says what was not as it should be.
func (r *soakResult) judge() error {
	var errs []error
	first, last := r.quarters[0], r.quarters[3]
	for _, row := range soakRows() {
		if a, b := row.of(first), row.of(last); row.grown != nil && b > a+row.grown(a) {
			errs = append(errs, fmt.Errorf("%s grew from %s to %s", row.name, number(a, row.decimals), number(b, row.decimals)))
		}
	}
	if r.verdict.Err != "" {
		errs = append(errs, fmt.Errorf("the relay's log is not what the hosts sent: %s", r.verdict.Err))
	}
	if len(r.counts.Accidents) == 0 {
		errs = append(errs, errors.New("no accident happened"))
	}
	for kind, n := range r.counts.Accidents {
		if n.Injected == 0 || n.Felt != n.Injected {
			errs = append(errs, fmt.Errorf("of %d accidents %q %d were felt", n.Injected, kind, n.Felt))
		}
	}
	return errors.Join(errs...)
}

// cells returns the table, the header first.
func (r *soakResult) cells() [][]string {
	table := [][]string{{"", "first quarter", "second", "third", "last quarter", "flat"}}
	for _, row := range soakRows() {
		line := []string{row.name}
		for _, q := range r.quarters {
			line = append(line, number(row.of(q), row.decimals))
		}
		flat := ""
		if row.grown != nil {
			flat = "yes"
			if a, b := row.of(r.quarters[0]), row.of(r.quarters[3]); b > a+row.grown(a) {
				flat = "no"
			}
		}
		table = append(table, append(line, flat))
	}
	return table
}

// accidents says what happened to the hosts, in words.
func (r *soakResult) accidents() string {
	var all []string
	for _, kind := range slices.Sorted(maps.Keys(r.counts.Accidents)) {
		n := r.counts.Accidents[kind]
		all = append(all, fmt.Sprintf("%s %s (%s felt)", kind, number(float64(n.Injected), 0), number(float64(n.Felt), 0)))
	}
	return strings.Join(all, ", ")
}

// report prints the table, and the section for docs/benchmarks.md.
func (o *soakOptions) report(w io.Writer, t *trial, r soakResult, load string) error {
	out := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	for _, row := range r.cells() {
		fmt.Fprintln(out, strings.Join(row, "\t"))
	}
	fmt.Fprintf(out, "accidents: %s\nevents: %d sent, %d in the log\n", r.accidents(), r.verdict.Events, r.verdict.Matched)
	if err := out.Flush(); err != nil || !o.markdown {
		return err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "\n## %s: soak of %s\n\n%s, and accidents after a while.\n\n", time.Now().UTC().Format(time.DateOnly), o.lasting, o.title())
	writeTable(&b, r.cells())
	fmt.Fprintf(&b, "- all hosts connected after %.1f s; all connections cut at once in the middle: all back after %.1f s\n", t.connected.Seconds(), r.again.Seconds())
	fmt.Fprintf(&b, "- accidents: %s\n", r.accidents())
	fmt.Fprintf(&b, "- events that the hosts sent: %s; in the log, once, as they were: %s\n", number(float64(r.verdict.Events), 0), number(float64(r.verdict.Matched), 0))
	o.writeOrigin(&b, fmt.Sprintf("soak -for %s -accidents %s -down %s", o.lasting, o.spec.Accidents, o.spec.Down), scaleDefaults().spec, load)
	_, err := io.WriteString(w, b.String())
	return err
}
