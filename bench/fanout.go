package main

import (
	"context"
	"encoding/json"
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

// fanoutOptions is what a run with many live consumers can be told.
type fanoutOptions struct {
	scaleOptions
	consumers int
	samples   int
	peer      string
}

func fanoutDefaults() fanoutOptions {
	o := fanoutOptions{scaleOptions: scaleDefaults(), consumers: 500, samples: 10, peer: peerReference}
	o.spec = crowdSpec{Hosts: 8, Accounts: 100, Records: 300, Rate: 500, Seed: 1, Addresses: 1, Named: true}
	o.lasting, o.rounds = 20*time.Second, 5
	return o
}

// fanoutSample is what one round of one relay found.
type fanoutSample struct {
	audienceReport
	events        int // logged meanwhile
	cpu, alone    time.Duration
	lasted, empty time.Duration // measured with consumers, and without
	peak          int64
	sent          float64 // p99 of the time from fsync to socket, seconds, a bound; 0 where it is not told
}

// deliveryMetric is Cistern's histogram of that time.
const deliveryMetric = "cistern_replay_delivery_seconds"

// perDelivery is CPU in µs for each event sent, without what the relay used with nobody
// connected.
func (s fanoutSample) perDelivery() float64 {
	alone := time.Duration(float64(s.alone) * float64(s.lasted) / float64(s.empty))
	return float64(s.cpu-alone) / float64(time.Microsecond) / float64(s.Events)
}

// whole is the same with it.
func (s fanoutSample) whole() float64 {
	return float64(s.cpu) / float64(time.Microsecond) / float64(s.Events)
}

func runFanout(ctx context.Context, args []string) error {
	o := fanoutDefaults()
	f := flag.NewFlagSet("bench fanout", flag.ContinueOnError)
	o.flags(f)
	f.IntVar(&o.consumers, "consumers", o.consumers, "live consumers")
	f.IntVar(&o.samples, "samples", o.samples, "of them look how old events are")
	f.IntVar(&o.rounds, "rounds", o.rounds, "rounds; figures are medians over them")
	f.DurationVar(&o.lasting, "for", o.lasting, "how long a round is measured")
	f.StringVar(&o.peer, "peer", o.peer, `what to compare with: "reference", the reference relay, or "" for nothing`)
	if err := f.Parse(args); err != nil {
		return err
	}
	if err := o.check(f); err != nil {
		return err
	}
	if o.samples < 1 || o.consumers < o.samples || o.peer != "" && o.peer != peerReference {
		return errors.New("-samples must be above zero and at most -consumers, and -peer \"reference\" or empty")
	}
	if limit, err := fileLimit(); err != nil || limit < uint64(o.consumers+500) {
		return fmt.Errorf("%d consumers need %d open files and the limit is %d (%w): ulimit -Hn", o.consumers, o.consumers+500, limit, err)
	}
	return o.inWorkDir(ctx, func(dir string, c *cistern) error {
		c.flags = []string{"--max-consumers", fmt.Sprint(o.consumers + 1), "--checkpoint-every", "0"}
		subjects := []subject{c}
		if o.peer == peerReference {
			r, err := installReference(ctx, dir)
			if err != nil {
				return err
			}
			subjects = append(subjects, r)
		}
		return o.fanout(ctx, dir, subjects)
	})
}

// fanout measures rounds, the relays in turn, and reports them.
func (o *fanoutOptions) fanout(ctx context.Context, dir string, subjects []subject) error {
	load := loadAverage()
	all := make([][]fanoutSample, len(subjects))
	for round := range o.rounds {
		for i, sub := range subjects {
			one, err := o.fanoutOnce(ctx, sub, filepath.Join(dir, fmt.Sprintf("fanout-%d-%d", i, round)))
			if err != nil {
				return fmt.Errorf("%s: %w", sub.name(), err)
			}
			all[i] = append(all[i], one)
			progress("fanout %d/%d %s: %.2f µs a delivery (%.2f in all), %d deliveries, age p50 %.1f ms, p99 %.1f ms", round+1, o.rounds, sub.name(),
				one.perDelivery(), one.whole(), one.Events, one.P50, one.P99)
		}
	}
	names := make([]string, len(subjects))
	for i, sub := range subjects {
		names[i] = sub.name()
	}
	return o.reportFanout(os.Stdout, names, all, load)
}

// fanoutOnce measures one relay, first with nobody connected, then with all consumers.
func (o *fanoutOptions) fanoutOnce(ctx context.Context, sub subject, dir string) (s fanoutSample, err error) {
	ctx, cancel := context.WithTimeout(ctx, 2*o.lasting+startWithin+hostPatience)
	defer cancel()
	if err := os.Mkdir(dir, 0o755); err != nil {
		return s, err
	}
	c, err := startCrowd(ctx, dir, o.spec)
	if err != nil {
		return s, err
	}
	defer c.end()
	from := &upstream{announcement: announcement{PLC: c.PLC}}
	for _, h := range c.Hosts {
		from.Hosts = append(from.Hosts, strings.TrimPrefix(h, "http://"))
	}
	r, err := sub.start(ctx, dir, from)
	if err != nil {
		return s, err
	}
	defer r.kill()
	if err := o.connectAll(ctx, c, r); err != nil {
		return s, err
	}
	s.empty = o.lasting / 2
	before, err := watch(r, func() error { return r.wait(ctx, s.empty) })
	if err != nil {
		return s, err
	}
	s.alone, s.empty = before.cpu, before.wall
	if err := o.measureAudience(ctx, r, dir, &s); err != nil {
		return s, err
	}
	r.kill()
	return s, os.RemoveAll(dir)
}

// connectAll waits until the relay reads all hosts, which then make events.
func (o *fanoutOptions) connectAll(ctx context.Context, c *crowd, r *relay) error {
	var failed error
	err := r.until(ctx, "not connected to all hosts", func() (bool, time.Duration) {
		n, err := c.count(ctx)
		failed = err
		return err != nil || n.Subscribed == o.spec.Hosts, 100 * time.Millisecond
	})
	if err := errors.Join(err, failed); err != nil {
		return err
	}
	if err := c.tell(lineEmit); err != nil {
		return err
	}
	return r.wait(ctx, min(settleFor, o.lasting))
}

// measureAudience connects the consumers and measures.
func (o *fanoutOptions) measureAudience(ctx context.Context, r *relay, dir string, s *fanoutSample) error {
	arg, err := json.Marshal(audienceSpec{Addr: r.addr, Consumers: o.consumers - o.samples, Samples: o.samples})
	if err != nil {
		return err
	}
	a, err := startTalker("audience", dir, "audience", string(arg))
	if err != nil {
		return err
	}
	defer a.end()
	if err := a.expect(ctx, lineConnected); err != nil {
		return err
	}
	if err := r.wait(ctx, min(settleFor, o.lasting)); err != nil {
		return err
	}
	tip, err := r.logged(ctx)
	if err != nil {
		return err
	}
	sentBefore, err := r.histogram(ctx, deliveryMetric)
	if err != nil {
		return err
	}
	if err := a.tell(lineMark); err != nil {
		return err
	}
	one, err := watch(r, func() error { return r.wait(ctx, o.lasting) })
	if err != nil {
		return err
	}
	if err := a.tell(lineReport); err != nil {
		return err
	}
	if err := a.answer(ctx, "reporting", &s.audienceReport); err != nil {
		return err
	}
	if s.Err != "" {
		return fmt.Errorf("a consumer: %s", s.Err)
	}
	sentAfter, err := r.histogram(ctx, deliveryMetric)
	if err != nil {
		return err
	}
	s.sent = quantileBetween(sentBefore, sentAfter, 0.99)
	now, err := r.logged(ctx)
	s.events, s.cpu, s.lasted, s.peak = now-tip, one.cpu, one.wall, one.peak
	return err
}

// fanoutRow is a row of the report; ratio says whether it is compared.
type fanoutRow struct {
	name     string
	of       func(fanoutSample) float64
	decimals int
	ratio    bool
}

func fanoutRows() []fanoutRow {
	return []fanoutRow{
		{"CPU µs a delivery, less what the relay uses with nobody connected", fanoutSample.perDelivery, 2, true},
		{"… all of the relay's", fanoutSample.whole, 2, true},
		{"age of an event at a consumer, median, ms", func(s fanoutSample) float64 { return s.P50 }, 1, true},
		{"… p99, ms", func(s fanoutSample) float64 { return s.P99 }, 1, true},
		{"… oldest, ms", func(s fanoutSample) float64 { return s.Max }, 1, false},
		{"from fsync to socket, p99 at most, ms (its own histogram)", func(s fanoutSample) float64 { return 1000 * s.sent }, 0, false},
		{"events/s", func(s fanoutSample) float64 { return float64(s.events) / s.lasted.Seconds() }, 0, false},
		{"deliveries/s", func(s fanoutSample) float64 { return float64(s.Events) / s.lasted.Seconds() }, 0, true},
		{"consumers that ended", func(s fanoutSample) float64 { return float64(s.Closed) }, 0, false},
		{"events between the foremost and the hindmost consumer", func(s fanoutSample) float64 { return float64(s.Most - s.Fewest) }, 0, false},
		{"CPU, % of a core", func(s fanoutSample) float64 { return 100 * s.cpu.Seconds() / s.lasted.Seconds() }, 1, true},
		{"peak RSS, MB", func(s fanoutSample) float64 { return float64(s.peak) / 1e6 }, 0, true},
	}
}

// reportFanout prints the table, and the section for docs/benchmarks.md.
func (o *fanoutOptions) reportFanout(w io.Writer, names []string, all [][]fanoutSample, load string) error {
	head := append([]string{fmt.Sprintf("%d consumers, %.0f events/s", o.consumers, o.spec.Rate)}, names...)
	if len(all) > 1 {
		head = append(head, "ratio, pair by pair")
	}
	table := [][]string{head}
	for _, r := range fanoutRows() {
		row := []string{r.name}
		var values [][]float64
		for _, samples := range all {
			var v []float64
			for _, s := range samples {
				v = append(v, r.of(s))
			}
			values = append(values, v)
			row = append(row, spreadOf(v).show(r.decimals))
		}
		if len(all) > 1 {
			ratio := ""
			if r.ratio {
				ratio = spreadOf(ratios(values[0], values[1])).show(3)
			}
			row = append(row, ratio)
		}
		table = append(table, row)
	}
	out := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	for _, row := range table {
		fmt.Fprintln(out, strings.Join(row, "\t"))
	}
	if err := out.Flush(); err != nil || !o.markdown {
		return err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "\n## %s: fan-out to %d consumers\n\n%d rounds: median (lowest–highest).\n\n", time.Now().UTC().Format(time.DateOnly), o.consumers, o.rounds)
	writeTable(&b, table)
	o.writeOrigin(&b, fmt.Sprintf("fanout -consumers %d -rounds %d -for %s -peer %q", o.consumers, o.rounds, o.lasting, o.peer), fanoutDefaults().spec, load)
	_, err := io.WriteString(w, b.String())
	return err
}
