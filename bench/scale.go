package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"
)

// scaleOptions is what a run at full scale can be told.
type scaleOptions struct {
	spec     crowdSpec
	rounds   int
	lasting  time.Duration // of a round, once all hosts are connected
	cistern  string
	work     string
	profile  string
	markdown bool
}

func scaleDefaults() scaleOptions {
	return scaleOptions{
		spec:   crowdSpec{Hosts: 2800, Accounts: 2, Records: 100, Rate: 600, Seed: 1, TLS: true, Addresses: 8},
		rounds: 3, lasting: time.Minute, work: defaults().work,
	}
}

// flags are those that scale and soak share.
func (o *scaleOptions) flags(f *flag.FlagSet) {
	f.IntVar(&o.spec.Hosts, "hosts", o.spec.Hosts, "simulated hosts")
	f.IntVar(&o.spec.Accounts, "accounts", o.spec.Accounts, "accounts a host")
	f.IntVar(&o.spec.Records, "records", o.spec.Records, "records an account has before, on average: sets the size of frames")
	f.Float64Var(&o.spec.Rate, "rate", o.spec.Rate, "events a second over all hosts")
	f.Uint64Var(&o.spec.Seed, "seed", o.spec.Seed, "seed of accounts, events and accidents")
	f.BoolVar(&o.spec.TLS, "tls", o.spec.TLS, "hosts speak https")
	f.IntVar(&o.spec.Addresses, "addresses", o.spec.Addresses, "addresses of the loopback that hosts are spread over")
	f.StringVar(&o.cistern, "cistern", o.cistern, "a cistern binary to measure (default: built from this module)")
	f.StringVar(&o.work, "work", o.work, "folder of what is written while measuring, on the disk to measure")
	f.StringVar(&o.profile, "profile", o.profile, "write profiles of Cistern into this folder, which costs it something")
	f.BoolVar(&o.markdown, "markdown", o.markdown, "also print a section for docs/benchmarks.md")
}

// check says what is wrong with the options. A host costs the crowd's process a listener
// and a connection, the relay's a connection.
func (o *scaleOptions) check(f *flag.FlagSet) error {
	if f.NArg() > 0 {
		return fmt.Errorf("%s takes flags only: %q", f.Name(), f.Arg(0))
	}
	s := &o.spec
	if s.Hosts < 1 || s.Accounts < 1 || s.Records < 1 || o.rounds < 1 || s.Rate <= 0 || o.lasting <= 0 {
		return errors.New("-hosts, -accounts, -records, -rounds, -rate and the duration must be above zero")
	}
	if s.Addresses < 1 || s.Addresses > 250 {
		return fmt.Errorf("-addresses %d is not between 1 and 250", s.Addresses)
	}
	const spare = 500
	if limit, err := fileLimit(); err != nil || limit < uint64(2*s.Hosts+spare) {
		return fmt.Errorf("%d hosts need %d open files in one process and the limit is %d (%w): ulimit -Hn", s.Hosts, 2*s.Hosts+spare, limit, err)
	}
	return nil
}

func runScale(ctx context.Context, args []string) error {
	o := scaleDefaults()
	f := flag.NewFlagSet("bench scale", flag.ContinueOnError)
	o.flags(f)
	f.IntVar(&o.rounds, "rounds", o.rounds, "rounds; figures are medians over them")
	f.DurationVar(&o.lasting, "for", o.lasting, "how long a round goes on once all hosts are connected")
	if err := f.Parse(args); err != nil {
		return err
	}
	if err := o.check(f); err != nil {
		return err
	}
	return o.inWorkDir(ctx, func(dir string, c *cistern) error { return o.scale(ctx, dir, c) })
}

// inWorkDir builds Cistern into a working folder, which is removed in the end.
func (o *scaleOptions) inWorkDir(ctx context.Context, do func(dir string, c *cistern) error) (err error) {
	dir, err := workDir(o.work)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	c, err := buildCistern(ctx, options{cistern: o.cistern}, dir)
	if err != nil {
		return err
	}
	return do(dir, c)
}

// scale measures rounds and reports them.
func (o *scaleOptions) scale(ctx context.Context, dir string, c *cistern) error {
	load := loadAverage()
	var all []scaleSample
	for round := range o.rounds {
		one, err := o.scaleOnce(ctx, c, filepath.Join(dir, fmt.Sprintf("scale-%d", round)))
		if err != nil {
			return err
		}
		all = append(all, one)
		progress("scale %d/%d: %d hosts in %.1f s, health p99 %.1f ms, %d threads, %.0f MB", round+1, o.rounds, o.spec.Hosts,
			one.connected.Seconds(), one.storm.at(0.99), one.threads, float64(max(one.stormPeak, one.steadyPeak))/1e6)
	}
	return o.report(os.Stdout, all, load)
}

// scaleSample is what one round found.
type scaleSample struct {
	connected         time.Duration
	storm, stormIdle  latencies // of the relay's health and of an idle server, until all were connected
	steady, idle      latencies // after that
	threads           int
	files, goroutines int
	stormPeak         int64
	steadyPeak        int64
	heap              int64
	stormCPU          time.Duration
	steadyCPU, lasted time.Duration
	events            int // logged while all were connected
	verdict           crowdVerdict
}

// scaleOnce is one round: all at once, then a while of ordinary work, then the question
// whether anything was lost.
func (o *scaleOptions) scaleOnce(ctx context.Context, c *cistern, dir string) (s scaleSample, err error) {
	ctx, cancel := context.WithTimeout(ctx, o.lasting+startWithin+2*hostPatience)
	defer cancel()
	t, err := startTrial(ctx, c, dir, o.spec, o.profileStorm)
	if err != nil {
		return s, err
	}
	defer t.end()
	s.connected = t.connected
	if s.stormCPU, err = cpuTime(t.relay.pid()); err != nil {
		return s, err
	}
	if s.stormPeak, err = peakMemory(t.relay.pid()); err != nil {
		return s, err
	}
	s.storm, s.stormIdle = t.health.between(0, t.connected), t.idle.between(0, t.connected)
	if err := o.steady(ctx, t, &s); err != nil {
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

// steady measures what comes after all hosts are connected.
func (o *scaleOptions) steady(ctx context.Context, t *trial, s *scaleSample) error {
	tip, err := t.relay.logged(ctx)
	if err != nil {
		return err
	}
	one, err := watch(t.relay, func() error { return t.relay.wait(ctx, o.lasting) })
	if err != nil {
		return err
	}
	now, err := t.relay.logged(ctx)
	if err != nil {
		return err
	}
	s.events, s.steadyCPU, s.lasted, s.steadyPeak = now-tip, one.cpu, one.wall, one.peak
	to := t.connected + o.lasting
	s.steady, s.idle = t.health.between(t.connected, to), t.idle.between(t.connected, to)
	for _, l := range t.watcher.looksBetween(0, to) {
		s.threads, s.files = max(s.threads, l.threads), max(s.files, l.files)
	}
	for _, m := range t.watcher.scrapesBetween(t.connected, to) {
		s.goroutines, s.heap = max(s.goroutines, m.goroutines), max(s.heap, m.heap)
	}
	return nil
}

// profileStorm fetches a profile of the first seconds, if it was asked for.
func (o *scaleOptions) profileStorm(ctx context.Context, r *relay) error {
	if o.profile == "" {
		return nil
	}
	if err := os.MkdirAll(o.profile, 0o755); err != nil {
		return err
	}
	if err := r.waitReady(ctx); err != nil {
		return err
	}
	s := session{options: options{profile: o.profile}}
	return s.fetch(ctx, r.metrics+"/debug/pprof/profile?seconds=10", "scale-storm-cpu.pprof")
}

// takeProfiles fetches what explains the figures, if it was asked for.
func (o *scaleOptions) takeProfiles(ctx context.Context, t *trial) error {
	if o.profile == "" {
		return nil
	}
	s := session{options: options{profile: o.profile}}
	if err := os.MkdirAll(o.profile, 0o755); err != nil {
		return err
	}
	for path, name := range map[string]string{
		"heap": "heap.pprof", "goroutine?debug=1": "goroutines.txt", "threadcreate": "threads.pprof", "profile?seconds=10": "cpu.pprof",
	} {
		if err := s.fetch(ctx, t.relay.metrics+"/debug/pprof/"+path, "scale-"+name); err != nil {
			return err
		}
	}
	return nil
}

// scaleRow is a row of the report, with what it should not exceed.
type scaleRow struct {
	name     string
	bar      string
	of       func(scaleSample) float64
	decimals int
}

func scaleRows() []scaleRow {
	const mb = 1e6
	return []scaleRow{
		{"all hosts connected after, s", "90", func(s scaleSample) float64 { return s.connected.Seconds() }, 1},
		{"`/_health` until then, p99, ms", "50", func(s scaleSample) float64 { return s.storm.at(0.99) }, 1},
		{"… median, ms", "", func(s scaleSample) float64 { return s.storm.at(0.5) }, 1},
		{"… longest, ms", "", func(s scaleSample) float64 { return s.storm.at(1) }, 1},
		{"… failed", "0", func(s scaleSample) float64 { return float64(s.storm.failed) }, 0},
		{"… an idle server beside it, p99, ms", "", func(s scaleSample) float64 { return s.stormIdle.at(0.99) }, 1},
		{"`/_health` after that, p99, ms", "50", func(s scaleSample) float64 { return s.steady.at(0.99) }, 1},
		{"… an idle server beside it, p99, ms", "", func(s scaleSample) float64 { return s.idle.at(0.99) }, 1},
		{"OS threads, most", "35", func(s scaleSample) float64 { return float64(s.threads) }, 0},
		{"peak RSS until connected, MB", "400", func(s scaleSample) float64 { return float64(s.stormPeak) / mb }, 0},
		{"peak RSS after that, MB", "400", func(s scaleSample) float64 { return float64(s.steadyPeak) / mb }, 0},
		{"heap, most seen, MB", "", func(s scaleSample) float64 { return float64(s.heap) / mb }, 0},
		{"goroutines, most", "", func(s scaleSample) float64 { return float64(s.goroutines) }, 0},
		{"open files, most", "", func(s scaleSample) float64 { return float64(s.files) }, 0},
		{"CPU until connected, s", "", func(s scaleSample) float64 { return s.stormCPU.Seconds() }, 1},
		{"events/s after that", "", func(s scaleSample) float64 { return float64(s.events) / s.lasted.Seconds() }, 0},
		{"CPU after that, % of a core", "", func(s scaleSample) float64 { return 100 * s.steadyCPU.Seconds() / s.lasted.Seconds() }, 1},
		{"CPU µs an event", "", func(s scaleSample) float64 { return float64(s.steadyCPU.Microseconds()) / float64(max(s.events, 1)) }, 0},
		{"events that the hosts sent", "", func(s scaleSample) float64 { return float64(s.verdict.Events) }, 0},
		{"… not in the log, once, as they were", "0", func(s scaleSample) float64 { return float64(s.verdict.Events - s.verdict.Matched) }, 0},
	}
}

// report prints the table, and the section for docs/benchmarks.md.
func (o *scaleOptions) report(w io.Writer, all []scaleSample, load string) error {
	table := [][]string{{o.title(), "bar", "Cistern"}}
	for _, r := range scaleRows() {
		values := make([]float64, len(all))
		for i, s := range all {
			values[i] = r.of(s)
		}
		table = append(table, []string{r.name, r.bar, spreadOf(values).show(r.decimals)})
	}
	out := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	for _, row := range table {
		fmt.Fprintln(out, strings.Join(row, "\t"))
	}
	if err := out.Flush(); err != nil || !o.markdown {
		return err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "\n## %s: scale\n\n%d rounds: median (lowest–highest).\n\n", time.Now().UTC().Format(time.DateOnly), o.rounds)
	writeTable(&b, table)
	o.writeOrigin(&b, fmt.Sprintf("scale -rounds %d -for %s", o.rounds, o.lasting), scaleDefaults().spec, load)
	_, err := io.WriteString(w, b.String())
	return err
}

func (o *scaleOptions) title() string {
	scheme := "http"
	if o.spec.TLS {
		scheme = "https"
	}
	return fmt.Sprintf("%s %s hosts, %s events/s", number(float64(o.spec.Hosts), 0), scheme, number(o.spec.Rate, 0))
}

// writeOrigin says where figures come from. d is what the command does when it is told
// nothing.
func (o *scaleOptions) writeOrigin(b *strings.Builder, what string, d crowdSpec, load string) {
	for _, f := range []struct {
		name      string
		now, then any
	}{
		{"hosts", o.spec.Hosts, d.Hosts}, {"accounts", o.spec.Accounts, d.Accounts}, {"records", o.spec.Records, d.Records},
		{"rate", o.spec.Rate, d.Rate}, {"seed", o.spec.Seed, d.Seed}, {"addresses", o.spec.Addresses, d.Addresses},
	} {
		if f.now != f.then {
			what += fmt.Sprintf(" -%s %v", f.name, f.now)
		}
	}
	if o.spec.TLS != d.TLS {
		what += fmt.Sprintf(" -tls=%v", o.spec.TLS)
	}
	fmt.Fprintf(b, "- command: `go run ./bench %s`\n- commit: %s\n", what, commit())
	fmt.Fprintf(b, "- machine: %s\n- load average before: %s; after: %s\n", machine(), load, loadAverage())
}

// writeTable writes a table in Markdown, and an empty line.
func writeTable(b *strings.Builder, table [][]string) {
	for i, row := range table {
		fmt.Fprintf(b, "| %s |\n", strings.Join(row, " | "))
		if i == 0 {
			fmt.Fprintf(b, "|%s\n", strings.Repeat("---|", len(row)))
		}
	}
	b.WriteByte('\n')
}
