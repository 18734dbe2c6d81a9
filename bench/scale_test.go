package main

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cistern-archive/cistern/testing/await"
)

// tinyScale is a run that takes a moment.
func tinyScale(t *testing.T) scaleOptions {
	c, err := built()
	if err != nil {
		t.Fatal(err)
	}
	o := scaleDefaults()
	o.spec.Hosts, o.spec.Accounts, o.spec.Records, o.spec.Rate, o.spec.Addresses = 6, 2, 10, 100, 2
	o.cistern, o.rounds, o.lasting, o.work, o.markdown = c.path, 1, time.Second, t.TempDir(), true
	return o
}

func TestARunAtScaleFindsEveryFigureOfARealRelay(t *testing.T) {
	for _, tls := range []bool{true, false} {
		t.Run(fmt.Sprintf("tls %v", tls), func(t *testing.T) {
			o := tinyScale(t)
			o.spec.TLS = tls
			var one scaleSample
			if err := o.inWorkDir(t.Context(), func(dir string, c *cistern) (err error) {
				one, err = o.scaleOnce(t.Context(), c, dir+"/scale")
				return err
			}); err != nil {
				t.Fatal(err)
			}
			if v := one.verdict; v.Events < 2*o.spec.Hosts || v.Matched != v.Events || v.Served != v.Events {
				t.Errorf("verdict %+v", v)
			}
			if one.connected <= 0 || len(one.steady.took) == 0 || one.steady.failed > 0 || one.threads < 2 || one.files < o.spec.Hosts ||
				one.stormPeak <= 0 || one.steadyPeak <= 0 || one.stormCPU <= 0 || one.steadyCPU <= 0 || one.events <= 0 {
				t.Errorf("%+v", one)
			}
			var out strings.Builder
			if err := o.report(&out, []scaleSample{one}, "1 2 3"); err != nil {
				t.Fatal(err)
			}
			if !regexp.MustCompile(`(?m)^\| OS threads, most \| 35 \| \d+ \(\d+–\d+\) \|$`).MatchString(out.String()) {
				t.Errorf("no threads in the section:\n%s", out.String())
			}
			nothingLeft(t, options{work: o.work})
		})
	}
}

func TestARunThatTheMachineCannotHoldIsRefused(t *testing.T) {
	for _, args := range [][]string{{"-hosts", "100000000"}, {"-hosts", "0"}, {"-addresses", "251"}, {"-rate", "0"}, {"x"}} {
		if err := runScale(t.Context(), args); err == nil {
			t.Errorf("%v was taken", args)
		}
	}
}

// A server that stands still for a while is seen by every probe of that while.
func TestEveryProbeOfAStandstillIsLate(t *testing.T) {
	stand := make(chan struct{})
	var waiting atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		waiting.Add(1)
		<-stand
		if r.URL.Path == "/ill" {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	defer server.Close()
	began := time.Now()
	well, ill := startProber(server.URL, began), startProber(server.URL+"/ill", began)
	eventually(t, func() bool { return waiting.Load() >= 8 }) // four of each, one after the other
	stood := time.Since(began)
	close(stand)
	seen := func(p *prober, n int) func() bool {
		return func() bool {
			p.mu.Lock()
			defer p.mu.Unlock()
			return len(p.probes) >= n
		}
	}
	eventually(t, seen(well, 6))
	eventually(t, seen(ill, 6))
	well.stop()
	ill.stop()
	l := well.between(0, stood)
	if len(l.took) < 2 || l.failed > 0 || l.at(1) < float64(probeEvery/time.Millisecond) {
		t.Errorf("%+v", l)
	}
	if l := ill.between(0, time.Hour); len(l.took) != 0 {
		t.Errorf("a server that was never well has latencies: %+v", l)
	}
}

// eventually waits for a condition.
func eventually(t *testing.T, ok func() bool) {
	t.Helper()
	await.Until(t, time.Minute, "a condition", ok)
}

func TestQuantilesAreOfTheWorst(t *testing.T) {
	var l latencies
	for i := range 100 {
		l.took = append(l.took, time.Duration(i+1)*time.Millisecond)
	}
	for q, want := range map[float64]float64{0.5: 50, 0.99: 99, 0.991: 100, 1: 100, 0: 1} {
		if got := l.at(q); got != want {
			t.Errorf("quantile %v is %v, want %v", q, got, want)
		}
	}
	if got := (latencies{}).at(0.5); got != 0 {
		t.Errorf("nothing has the median %v", got)
	}
}

func TestAFailedProbeCountsAsSlow(t *testing.T) {
	p := &prober{probes: []probe{
		{at: 1, took: 1}, {at: 2, took: 1, ok: true}, {at: 3, took: 1}, {at: 4, took: 2, ok: true}, {at: 5, took: 9, ok: true},
	}}
	l := p.between(0, 5) // the first found nobody listening
	if len(l.took) != 3 || l.failed != 1 || l.took[2] != probeWithin {
		t.Errorf("%+v", l)
	}
}

func TestAProcessIsLookedAt(t *testing.T) {
	l, err := lookAt(os.Getpid())
	if err != nil || l.threads < 1 || l.resident < 1<<20 || l.files < 3 || l.cpu <= 0 {
		t.Errorf("%+v, %v", l, err)
	}
	if _, err := lookAt(1 << 22); err == nil {
		t.Error("a process that does not exist was seen")
	}
	ctx, cancel := context.WithCancel(t.Context())
	n := 0
	every(ctx, time.Millisecond, func() {
		if n++; n == 3 {
			cancel()
		}
	})
	if n < 3 {
		t.Errorf("%d times", n)
	}
}
