package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
)

// fanoutRow is a row of the report.
type fanoutRow struct {
	name     string
	of       func(fanoutSample) float64
	decimals int
	ratio    bool // a ratio says something
}

func fanoutRows() []fanoutRow {
	return []fanoutRow{
		{"CPU µs a delivery", fanoutSample.cpuPerDelivery, 2, true},
		{"… undiminished by ingest", fanoutSample.cpuUndiminished, 2, true},
		{"CPU with consumers, % of a core", func(s fanoutSample) float64 { return 100 * s.with.cpu.Seconds() / s.with.wall.Seconds() }, 1, true},
		{"… without, % of a core", func(s fanoutSample) float64 { return 100 * s.alone.cpu.Seconds() / s.alone.wall.Seconds() }, 1, true},
		{"age of an event at a consumer, median, ms", func(s fanoutSample) float64 { return s.age.at(0.5) }, 1, true},
		{"… p99, ms", func(s fanoutSample) float64 { return s.age.at(0.99) }, 1, true},
		{"… oldest, ms", func(s fanoutSample) float64 { return s.age.at(1) }, 1, true},
		{"from fsync to socket, p99, at most, ms", func(s fanoutSample) float64 { return 1000 * s.sent }, 0, false},
		{"events/s", fanoutSample.rate, 0, false},
		{"deliveries/s", func(s fanoutSample) float64 { return float64(s.deliveries) / s.with.wall.Seconds() }, 0, false},
		{"peak RSS with consumers, MB", func(s fanoutSample) float64 { return float64(s.peak) / 1e6 }, 0, true},
		{"consumers behind at the end", func(s fanoutSample) float64 { return float64(s.then.behind) }, 0, false},
		{"… disconnected", func(s fanoutSample) float64 { return float64(s.atLast.gone) }, 0, false},
		{"events missed, all consumers", func(s fanoutSample) float64 { return float64(s.atLast.missed) }, 0, false},
	}
}

// fanoutTable has a column for each relay and, for two, the first over the second.
func (o *fanoutOptions) fanoutTable(subjects []subject, all [][]fanoutSample) [][]string {
	head := []string{fmt.Sprintf("%s consumers, %s events/s", number(float64(o.consumers), 0), number(o.spec.Rate, 0))}
	for _, sub := range subjects {
		head = append(head, sub.name())
	}
	if len(subjects) == 2 {
		head = append(head, "ratio, pair by pair")
	}
	table := [][]string{head}
	for _, r := range fanoutRows() {
		row := []string{r.name}
		values := make([][]float64, len(subjects))
		for i := range subjects {
			for _, one := range all[i] {
				values[i] = append(values[i], r.of(one))
			}
			row = append(row, spreadOf(values[i]).show(r.decimals))
		}
		switch {
		case len(subjects) == 2 && r.ratio:
			row = append(row, spreadOf(ratios(values[0], values[1])).show(3))
		case len(subjects) == 2:
			row = append(row, "")
		}
		table = append(table, row)
	}
	return table
}

// reportFanout prints the table, and the section for docs/benchmarks.md.
func (o *fanoutOptions) reportFanout(w io.Writer, subjects []subject, all [][]fanoutSample, load string) error {
	what := fmt.Sprintf("%s -rounds %d -for %s -consumers %d -peer %q", o.command, o.rounds, o.lasting, o.consumers, o.peer)
	return o.reportTable(w, o.fanoutTable(subjects, all), what, load)
}

// reportTable prints a table for people and, if asked, a section.
func (o *fanoutOptions) reportTable(w io.Writer, table [][]string, what, load string) error {
	out := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	for _, row := range table {
		fmt.Fprintln(out, strings.Join(row, "\t"))
	}
	if err := out.Flush(); err != nil || !o.markdown {
		return err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "\n## %s: %s\n\n%d rounds: median (lowest–highest).\n\n", time.Now().UTC().Format(time.DateOnly), o.command, o.rounds)
	writeTable(&b, table)
	if d := fanoutDefaults(o.command).listeners; o.listeners != d {
		what += fmt.Sprintf(" -listeners %d", o.listeners)
	}
	if o.relay != "" {
		what += fmt.Sprintf(" -relay-flags %q", o.relay)
	}
	o.writeOrigin(&b, what, fanoutDefaults(o.command).spec, load)
	_, err := io.WriteString(w, b.String())
	return err
}
