package main

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cistern-archive/cistern/internal/netsim"
)

func TestASoakAmongAccidentsFindsNothingLost(t *testing.T) {
	o := soakOptions{scaleOptions: tinyScale(t), plot: filepath.Join(t.TempDir(), "plot.svg")}
	o.lasting, o.spec.Accidents, o.spec.Down = 4*time.Second, 50*time.Millisecond, 100*time.Millisecond
	o.spec.Kinds = []netsim.Accident{netsim.AccidentCut, netsim.AccidentRST, netsim.AccidentRestart, netsim.AccidentStall}
	if err := o.inWorkDir(t.Context(), func(dir string, c *cistern) error {
		tr, err := startTrial(t.Context(), c, dir+"/soak", o.spec, o.profileStorm)
		if err != nil {
			return err
		}
		defer tr.end()
		res, err := o.suffer(t.Context(), tr)
		if err != nil {
			return err
		}
		if res.verdict.Err != "" || res.verdict.Events == 0 || res.verdict.Matched != res.verdict.Events {
			t.Errorf("verdict %+v", res.verdict)
		}
		if len(res.counts.Accidents) == 0 || res.counts.Returned != o.spec.Hosts {
			t.Errorf("counts %+v", res.counts)
		}
		for kind, n := range res.counts.Accidents {
			if n.Felt != n.Injected {
				t.Errorf("%s: %+v", kind, n)
			}
		}
		var out strings.Builder
		if err := errors.Join(o.report(&out, tr, res, "1 2 3"), o.draw(tr, res)); err != nil {
			return err
		}
		if !strings.Contains(out.String(), "| goroutines, median |") {
			t.Errorf("no goroutines in the section:\n%s", out.String())
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	svg, err := os.ReadFile(o.plot)
	if err != nil {
		t.Fatal(err)
	}
	for d := xml.NewDecoder(strings.NewReader(string(svg))); ; {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("the plot is not XML: %v", err)
		}
	}
	if n := strings.Count(string(svg), `fill="none"`); n != 8 {
		t.Errorf("%d lines in the plot, want 8", n)
	}
}

// calm is a run in which nothing was wrong.
func calm() soakResult {
	q := quarter{heap: 100e6, resident: 200e6, goroutines: 3000, files: 2900, threads: 12}
	return soakResult{
		quarters: [4]quarter{q, q, q, q},
		counts:   crowdCount{Accidents: map[netsim.Accident]netsim.AccidentCount{netsim.AccidentRST: {Injected: 3, Felt: 3}}},
	}
}

func TestASoakIsJudged(t *testing.T) {
	r := calm()
	if err := r.judge(); err != nil {
		t.Errorf("nothing was wrong: %v", err)
	}
	for name, change := range map[string]func(*soakResult){
		"heap":           func(r *soakResult) { r.quarters[3].heap *= 1.3 },
		"RSS":            func(r *soakResult) { r.quarters[3].resident *= 1.3 },
		"goroutines":     func(r *soakResult) { r.quarters[3].goroutines += 300 },
		"OS threads":     func(r *soakResult) { r.quarters[3].threads += 5 },
		"open files":     func(r *soakResult) { r.quarters[3].files += 300 },
		"failed":         func(r *soakResult) { r.quarters[3].health.failed++ },
		"what the hosts": func(r *soakResult) { r.verdict.Err = "1 missing" },
		"no accident":    func(r *soakResult) { r.counts.Accidents = nil },
		`"rst" 2 were felt`: func(r *soakResult) {
			r.counts.Accidents[netsim.AccidentRST] = netsim.AccidentCount{Injected: 3, Felt: 2}
		},
		`"cut" 0 were felt`: func(r *soakResult) { r.counts.Accidents[netsim.AccidentCut] = netsim.AccidentCount{} },
	} {
		r := calm()
		change(&r)
		if err := r.judge(); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAPlotKeepsPeaks(t *testing.T) {
	var all []int
	for i := range 10 * plotPoints {
		all = append(all, i%1000)
	}
	points := pointsOf(all, func(v int) point { return point{v: float64(v)} })
	most := 0.0
	for _, p := range points {
		most = max(most, p.v)
	}
	if len(points) > plotPoints || most != 999 {
		t.Errorf("%d points up to %v", len(points), most)
	}
	for v, want := range map[float64]float64{0.7: 1, 1: 1, 3: 5, 51: 100, 400: 500, 2000: 2000} {
		if got := roundUp(v); got != want {
			t.Errorf("%v is rounded up to %v, want %v", v, got, want)
		}
	}
}
