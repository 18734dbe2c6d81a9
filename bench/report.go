package main

import (
	"fmt"
	"io"
	"os/exec"
	"strings"
	"text/tabwriter"
	"time"
)

// figure is a row of the report.
type figure struct {
	name     string
	of       func(sample) float64
	decimals int
}

// figures are the rows of a series.
func (s series) figures() []figure {
	rows := []figure{
		{"events/s", sample.perSecond, 0},
		{"CPU µs an event", sample.cpuPerEvent, 2},
		{"peak RSS, MB", sample.peakMB, 0},
	}
	if s.disk {
		rows = append(rows, figure{"disk, bytes an event", sample.diskPerEvent, 0})
	}
	return rows
}

// cells returns the table of a series, the header first: medians with lowest and
// highest, and, for two relays, the first over the second.
func (s *session) cells(work series) [][]string {
	head := []string{work.title}
	for _, sub := range s.subjects {
		head = append(head, sub.name())
	}
	pair := len(s.subjects) == 2
	if pair {
		head = append(head, "ratio, pair by pair")
	}
	table := [][]string{head}
	for _, f := range work.figures() {
		row := []string{f.name}
		values := make([][]float64, len(s.subjects))
		for i := range s.subjects {
			for _, one := range work.samples[i] {
				values[i] = append(values[i], f.of(one))
			}
			row = append(row, spreadOf(values[i]).show(f.decimals))
		}
		if pair {
			row = append(row, spreadOf(ratios(values[0], values[1])).show(3))
		}
		table = append(table, row)
	}
	return table
}

// intro says what was measured.
func (s *session) intro() string {
	return fmt.Sprintf("%s events from %d hosts, %s bytes a frame, %d rounds: median (lowest–highest)",
		number(float64(s.total), 0), s.hosts, number(float64(s.bytes)/float64(s.total), 0), s.rounds)
}

// report prints tables for people and, if asked, the section for docs/benchmarks.md.
func (s *session) report(w io.Writer, command string, all []series) error {
	out := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	fmt.Fprintf(out, "%s\n", s.intro())
	for _, work := range all {
		fmt.Fprintln(out)
		for _, row := range s.cells(work) {
			fmt.Fprintln(out, strings.Join(row, "\t"))
		}
	}
	if err := out.Flush(); err != nil || !s.markdown {
		return err
	}
	_, err := io.WriteString(w, "\n"+s.section(command, all))
	return err
}

// section is a dated section of docs/benchmarks.md.
func (s *session) section(command string, all []series) string {
	var b strings.Builder
	title := command
	if command == "replay" {
		title = "replay, Cistern's log in " + map[string]string{tierHot: "hot files", tierSealed: "sealed segments"}[s.tier]
	}
	fmt.Fprintf(&b, "## %s: %s\n\n", time.Now().UTC().Format(time.DateOnly), title)
	fmt.Fprintf(&b, "%s.\n\n", s.intro())
	for _, work := range all {
		writeTable(&b, s.cells(work))
	}
	fmt.Fprintf(&b, "- command: `%s`\n- commit: %s\n", s.command(command), commit())
	fmt.Fprintf(&b, "- machine: %s\n- load average before: %s; after: %s\n", machine(), s.load, loadAverage())
	return b.String()
}

// command is what measures the same again.
func (s *session) command(name string) string {
	c := fmt.Sprintf("go run ./bench %s -n %d -rounds %d -peer %q", name, s.events, s.rounds, s.peer)
	d := defaults()
	if s.hosts != d.hosts || s.accounts != d.accounts || s.records != d.records || s.seed != d.seed {
		c += fmt.Sprintf(" -hosts %d -accounts %d -records %d -seed %d", s.hosts, s.accounts, s.records, s.seed)
	}
	if s.segment != d.segment {
		c += " -segment-size " + s.segment
	}
	if name == "replay" {
		c += fmt.Sprintf(" -consumers %d -tier %s", s.consumers, s.tier)
	}
	return c
}

// commit names the checkout.
func commit() string {
	out, err := exec.Command("git", "describe", "--always", "--dirty", "--abbrev=12").Output() //nolint:noctx // at once
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(out))
}
