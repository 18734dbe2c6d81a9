package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/cistern-archive/cistern/internal/rogue"
)

// hostileOptions is what a run among rogues can be told.
type hostileOptions struct {
	scaleOptions
	each int // rogues of each kind
}

func hostileDefaults() hostileOptions {
	o := hostileOptions{scaleOptions: scaleDefaults(), each: 3}
	o.spec.Hosts, o.spec.Accounts, o.spec.Rate = 200, 4, 100
	return o
}

// hostileSample is what one round found.
type hostileSample struct {
	age          latencies // of honest events when they reach a consumer
	health, idle latencies
	cpu, lasted  time.Duration
	peak         int64
	threads      int
	goroutines   int
	events       int
	rogues       rogueCounts // nil without rogues
	verdict      crowdVerdict
}

func runHostile(ctx context.Context, args []string) error {
	o := hostileDefaults()
	f := flag.NewFlagSet("bench hostile", flag.ContinueOnError)
	o.flags(f)
	f.IntVar(&o.each, "rogues", o.each, "rogue hosts of each kind")
	f.IntVar(&o.rounds, "rounds", o.rounds, "rounds, each without rogues and with them; figures are medians over them")
	f.DurationVar(&o.lasting, "for", o.lasting, "how long each half of a round is measured")
	if err := f.Parse(args); err != nil {
		return err
	}
	if err := o.check(f); err != nil {
		return err
	}
	if o.each < 1 {
		return errors.New("-rogues must be above zero")
	}
	return o.inWorkDir(ctx, func(dir string, c *cistern) error { return o.hostile(ctx, dir, c) })
}

// hostile measures rounds, without and with rogues in turn, and reports them.
func (o *hostileOptions) hostile(ctx context.Context, dir string, c *cistern) error {
	load := loadAverage()
	var without, with []hostileSample
	for round := range o.rounds {
		for _, each := range []int{0, o.each} {
			one, err := o.hostileOnce(ctx, c, filepath.Join(dir, fmt.Sprintf("hostile-%d-%d", round, each)), each)
			if err != nil {
				return err
			}
			progress("hostile %d/%d, %d rogues of each kind: age p50 %.1f ms, p99 %.1f ms, longest %.1f ms; CPU %.1f %%", round+1, o.rounds, each,
				one.age.at(0.5), one.age.at(0.99), one.age.at(1), 100*one.cpu.Seconds()/one.lasted.Seconds())
			if each == 0 {
				without = append(without, one)
			} else {
				with = append(with, one)
			}
		}
	}
	return o.reportHostile(os.Stdout, without, with, load)
}

// hostileOnce is half of a round: a relay in front of the crowd, and of so many rogues
// of each kind.
func (o *hostileOptions) hostileOnce(ctx context.Context, c *cistern, dir string, each int) (s hostileSample, err error) {
	ctx, cancel := context.WithTimeout(ctx, o.lasting+startWithin+2*hostPatience)
	defer cancel()
	if err := os.Mkdir(dir, 0o755); err != nil {
		return s, err
	}
	among := *c
	var bad *rogues
	if each > 0 {
		if bad, err = startRogues(ctx, dir, rogueSpec{Each: each, Seed: o.spec.Seed}); err != nil {
			return s, err
		}
		defer bad.end()
		among.flags = slices.Clone(c.flags)
		for _, h := range bad.Hosts {
			among.flags = append(among.flags, "--host", h)
		}
	}
	t, err := startTrial(ctx, &among, filepath.Join(dir, "trial"), o.spec, func(context.Context, *relay) error { return nil })
	if err != nil {
		return s, err
	}
	defer t.end()
	if err := o.measureAmong(ctx, t, bad, &s); err != nil {
		return s, err
	}
	if err := o.takeProfiles(ctx, t); err != nil {
		return s, err
	}
	t.unwatch()
	if _, s.verdict, err = t.compare(ctx); err != nil {
		return s, err
	}
	if s.verdict.Err != "" {
		return s, fmt.Errorf("the relay's log is not what the hosts sent: %s", s.verdict.Err)
	}
	t.end()
	return s, os.RemoveAll(dir)
}

// settleFor is left to the relay between the connecting of all hosts and the measuring.
const settleFor = 5 * time.Second

// measureAmong measures a relay that is connected to all honest hosts, once every rogue
// has done its thing.
func (o *hostileOptions) measureAmong(ctx context.Context, t *trial, bad *rogues, s *hostileSample) (err error) {
	if bad != nil {
		var failed error
		if err := bad.until(ctx, "not all kinds of rogues have fired", func() (bool, time.Duration) {
			var c rogueCounts
			c, failed = bad.counts(ctx)
			return failed != nil || c.fired(), 100 * time.Millisecond
		}); err != nil || failed != nil {
			return errors.Join(err, failed)
		}
	}
	l, err := listen(ctx, t.relay.addr, t.began)
	if err != nil {
		return err
	}
	defer l.end()
	if err := t.relay.wait(ctx, min(settleFor, o.lasting)); err != nil {
		return err
	}
	tip, err := t.relay.logged(ctx)
	if err != nil {
		return err
	}
	from := time.Since(t.began)
	one, err := watch(t.relay, func() error { return t.relay.wait(ctx, o.lasting) })
	if err != nil {
		return err
	}
	now, err := t.relay.logged(ctx)
	if err != nil {
		return err
	}
	to := from + o.lasting
	s.events, s.cpu, s.lasted, s.peak = now-tip, one.cpu, one.wall, one.peak
	s.health, s.idle = t.health.between(from, to), t.idle.between(from, to)
	for _, look := range t.watcher.looksBetween(from, to) {
		s.threads = max(s.threads, look.threads)
	}
	for _, m := range t.watcher.scrapesBetween(from, to) {
		s.goroutines = max(s.goroutines, m.goroutines)
	}
	if bad != nil {
		if s.rogues, err = bad.counts(ctx); err != nil {
			return err
		}
	}
	s.age, err = l.between(from, to)
	return err
}

// hostileRow is a row of the report.
type hostileRow struct {
	name     string
	of       func(hostileSample) float64
	decimals int
}

func hostileRows() []hostileRow {
	const mb = 1e6
	return []hostileRow{
		{"age of an honest event at a consumer, median, ms", func(s hostileSample) float64 { return s.age.at(0.5) }, 1},
		{"… p99, ms", func(s hostileSample) float64 { return s.age.at(0.99) }, 1},
		{"… oldest, ms", func(s hostileSample) float64 { return s.age.at(1) }, 1},
		{"`/_health`, p99, ms", func(s hostileSample) float64 { return s.health.at(0.99) }, 1},
		{"… failed", func(s hostileSample) float64 { return float64(s.health.failed) }, 0},
		{"… an idle server beside it, p99, ms", func(s hostileSample) float64 { return s.idle.at(0.99) }, 1},
		{"events/s", func(s hostileSample) float64 { return float64(s.events) / s.lasted.Seconds() }, 0},
		{"CPU, % of a core", func(s hostileSample) float64 { return 100 * s.cpu.Seconds() / s.lasted.Seconds() }, 1},
		{"peak RSS, MB", func(s hostileSample) float64 { return float64(s.peak) / mb }, 0},
		{"OS threads, most", func(s hostileSample) float64 { return float64(s.threads) }, 0},
		{"goroutines, most", func(s hostileSample) float64 { return float64(s.goroutines) }, 0},
		{"connections to rogues", func(s hostileSample) float64 { return float64(s.rogues.connections()) }, 0},
		{"events that honest hosts sent", func(s hostileSample) float64 { return float64(s.verdict.Events) }, 0},
		{"… not in the log, once, as they were", func(s hostileSample) float64 { return float64(s.verdict.Events - s.verdict.Matched) }, 0},
	}
}

// connections sums over all kinds.
func (c rogueCounts) connections() (n int64) {
	for _, one := range c {
		n += one.Connections
	}
	return n
}

// column is a figure over the rounds.
func column(all []hostileSample, of func(hostileSample) float64, decimals int) string {
	values := make([]float64, len(all))
	for i, s := range all {
		values[i] = of(s)
	}
	return spreadOf(values).show(decimals)
}

// reportHostile prints the tables, and the section for docs/benchmarks.md.
func (o *hostileOptions) reportHostile(w io.Writer, without, with []hostileSample, load string) error {
	kinds := rogue.Kinds()
	table := [][]string{{o.title(), "without", fmt.Sprintf("with %d rogues", o.each*len(kinds))}}
	for _, r := range hostileRows() {
		table = append(table, []string{r.name, column(without, r.of, r.decimals), column(with, r.of, r.decimals)})
	}
	faults := [][]string{{fmt.Sprintf("%d rogues of each kind", o.each), "connections", "times that the rule was broken"}}
	for _, k := range kinds {
		faults = append(faults, []string{
			"`" + string(k) + "`",
			column(with, func(s hostileSample) float64 { return float64(s.rogues[k].Connections) }, 0),
			column(with, func(s hostileSample) float64 { return float64(s.rogues[k].Fired) }, 0),
		})
	}
	out := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	for _, t := range [][][]string{table, faults} {
		for _, row := range t {
			fmt.Fprintln(out, strings.Join(row, "\t"))
		}
		fmt.Fprintln(out)
	}
	if err := out.Flush(); err != nil || !o.markdown {
		return err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "\n## %s: hostile\n\n%d rounds: median (lowest–highest).\n\n", time.Now().UTC().Format(time.DateOnly), o.rounds)
	writeTable(&b, table)
	writeTable(&b, faults)
	o.writeOrigin(&b, fmt.Sprintf("hostile -rounds %d -for %s -rogues %d", o.rounds, o.lasting, o.each), hostileDefaults().spec, load)
	_, err := io.WriteString(w, b.String())
	return err
}
