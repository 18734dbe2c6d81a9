package main

import (
	"cmp"
	"fmt"
	"html"
	"math"
	"os"
	"slices"
	"strings"
	"time"
)

// Sizes of a plot, in SVG's own units.
const (
	plotWidth   = 820
	panelHeight = 110
	plotLeft    = 70
	plotTop     = 24
	plotGap     = 34
)

// point is a value at an instant.
type point struct {
	at time.Duration
	v  float64
}

// curve is one line of a panel.
type curve struct {
	name, colour string
	points       []point
}

// panel is one diagram: lines over the time of the run, from 0 up.
type panel struct {
	title string
	lines []curve
}

// draw writes what a long run saw as a picture, if it was asked for.
func (o *soakOptions) draw(t *trial, r soakResult) error {
	if o.plot == "" {
		return nil
	}
	const mb = 1e6
	looks, scrapes := t.watcher.looksBetween(0, r.ended), t.watcher.scrapesBetween(0, r.ended)
	return os.WriteFile(o.plot, []byte(svg(fmt.Sprintf("%s, accidents from %s on", o.title(), r.began.Round(time.Second)), r.ended, []panel{
		{"memory, MB", []curve{
			{"RSS", "#c33", pointsOf(looks, func(l look) point { return point{l.at, float64(l.resident) / mb} })},
			{"heap", "#36c", pointsOf(scrapes, func(s scrape) point { return point{s.at, float64(s.heap) / mb} })},
		}},
		{"hosts connected", []curve{
			{"", "#36c", pointsOf(scrapes, func(s scrape) point { return point{s.at, float64(s.connections)} })},
		}},
		{"goroutines and open files", []curve{
			{"goroutines", "#36c", pointsOf(scrapes, func(s scrape) point { return point{s.at, float64(s.goroutines)} })},
			{"open files", "#c33", pointsOf(looks, func(l look) point { return point{l.at, float64(l.files)} })},
		}},
		{"OS threads", []curve{
			{"", "#36c", pointsOf(looks, func(l look) point { return point{l.at, float64(l.threads)} })},
		}},
		{"health check, p99, ms", []curve{
			{"relay", "#36c", t.health.quantiles(r.ended)},
			{"idle server", "#999", t.idle.quantiles(r.ended)},
		}},
	})), 0o644)
}

// plotPoints is how many points a line has at most.
const plotPoints = 400

// pointsOf takes a point of each reading, the highest of neighbours when there are too
// many for the eye.
func pointsOf[T any](all []T, of func(T) point) []point {
	every := (len(all) + plotPoints - 1) / plotPoints
	var out []point
	for i, v := range all {
		p := of(v)
		if i%every == 0 {
			out = append(out, p)
		} else if last := &out[len(out)-1]; p.v > last.v {
			last.v = p.v
		}
	}
	return out
}

// quantiles are the 99th percentiles of pieces of the run.
func (p *prober) quantiles(end time.Duration) []point {
	const pieces = 60
	var out []point
	for i := range pieces {
		from := end * time.Duration(i) / pieces
		if l := p.between(from, end*time.Duration(i+1)/pieces); len(l.took) > 0 {
			out = append(out, point{from + end/pieces/2, l.at(0.99)})
		}
	}
	return out
}

// svg draws panels one below the other.
func svg(title string, end time.Duration, panels []panel) string {
	var b strings.Builder
	height := plotTop + len(panels)*(panelHeight+plotGap)
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="11">`+"\n", plotWidth, height)
	fmt.Fprintf(&b, `<rect width="100%%" height="100%%" fill="#fff"/><text x="%d" y="14" font-size="13">%s</text>`+"\n", plotLeft, html.EscapeString(title))
	for i, p := range panels {
		p.draw(&b, plotTop+i*(panelHeight+plotGap)+12, end)
	}
	b.WriteString("</svg>\n")
	return b.String()
}

func (p panel) draw(b *strings.Builder, top int, end time.Duration) {
	most := 1.0
	for _, l := range p.lines {
		if len(l.points) > 0 {
			most = max(most, slices.MaxFunc(l.points, func(a, b point) int { return cmp.Compare(a.v, b.v) }).v)
		}
	}
	most = roundUp(most)
	const width = plotWidth - plotLeft - 10
	bottom := top + panelHeight
	for i := range 3 {
		y := bottom - i*panelHeight/2
		fmt.Fprintf(b, `<path d="M%d %dh%d" stroke="#ddd"/><text x="%d" y="%d" text-anchor="end" fill="#555">%s</text>`+"\n",
			plotLeft, y, width, plotLeft-6, y+4, number(most*float64(i)/2, decimalsOf(most)))
	}
	for i := range 5 {
		at := end * time.Duration(i) / 4
		fmt.Fprintf(b, `<text x="%d" y="%d" text-anchor="middle" fill="#555">%s min</text>`+"\n",
			plotLeft+i*(width-20)/4+10, bottom+13, number(at.Minutes(), 1))
	}
	fmt.Fprintf(b, `<text x="%d" y="%d" fill="#222">%s</text>`+"\n", plotLeft, top-4, html.EscapeString(p.title))
	for i, l := range p.lines {
		var path strings.Builder
		for j, at := range l.points {
			fmt.Fprintf(&path, "%c%.1f %.1f", "ML"[min(j, 1)],
				float64(plotLeft)+float64(width)*float64(at.at)/float64(end), float64(bottom)-float64(panelHeight)*at.v/most)
		}
		fmt.Fprintf(b, `<path d="%s" fill="none" stroke="%s" stroke-width="1.2"/>`+"\n", path.String(), l.colour)
		fmt.Fprintf(b, `<text x="%d" y="%d" text-anchor="end" fill="%s">%s</text>`+"\n", plotWidth-12-i*90, top-4, l.colour, html.EscapeString(l.name))
	}
}

// roundUp gives the next of 1, 2, 5, 10, …
func roundUp(v float64) float64 {
	ten := math.Pow(10, math.Floor(math.Log10(v)))
	for _, f := range []float64{1, 2, 5} {
		if v <= f*ten {
			return f * ten
		}
	}
	return 10 * ten
}

func decimalsOf(most float64) int {
	if most < 4 {
		return 1
	}
	return 0
}
