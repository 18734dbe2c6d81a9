package main

import "fmt"

// slowTable has a column for each half.
func (o *slowOptions) slowTable(s slowSample) [][]string {
	table := [][]string{{
		fmt.Sprintf("%d good consumers, %s events/s", o.listeners, number(o.spec.Rate, 0)),
		"alone", fmt.Sprintf("beside a slow one, one that pauses, %d that never read", o.deaf),
	}}
	for _, r := range []struct {
		name     string
		of       func(slowHalf) float64
		decimals int
	}{
		{"age of an event at a good consumer, median, ms", func(h slowHalf) float64 { return h.age.at(0.5) }, 1},
		{"… p99, ms", func(h slowHalf) float64 { return h.age.at(0.99) }, 1},
		{"… p99 of ten seconds, median over them, ms", func(h slowHalf) float64 { return h.windows.median }, 1},
		{"… p99 of the first ten seconds, ms", func(h slowHalf) float64 { return h.first }, 1},
		{"… p99 of the worst ten seconds, ms", func(h slowHalf) float64 { return h.windows.high }, 1},
		{"… oldest, ms", func(h slowHalf) float64 { return h.age.at(1) }, 1},
		{"peak RSS, MB", func(h slowHalf) float64 { return h.peakMB() }, 0},
		{"CPU, % of a core", func(h slowHalf) float64 { return 100 * h.cpu.Seconds() / h.wall.Seconds() }, 1},
		{"events/s", func(h slowHalf) float64 { return h.perSecond() }, 0},
	} {
		table = append(table, []string{r.name, number(r.of(s.before), r.decimals), number(r.of(s.beside), r.decimals)})
	}
	for _, r := range []struct {
		name string
		n    int
	}{
		{fmt.Sprintf("events behind, the one that reads %d/s, in the end", o.crawl), s.lag},
		{fmt.Sprintf("events behind, the one that paused %s, when it went on", o.pause), s.lagPause},
		{"events missed, the good ones", s.missed[0]},
		{"… the slow one, after it read on", s.missed[1]},
		{"… the one that paused", s.missed[2]},
		{"disconnected, of all these", s.gone},
		{"still connected, of those that never read", s.held},
	} {
		table = append(table, []string{r.name, "", number(float64(r.n), 0)})
	}
	return table
}
