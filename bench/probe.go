package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"sync"
	"time"
)

const (
	probeEvery  = 50 * time.Millisecond
	probeWithin = 5 * time.Second // after which a probe has failed
	// probesAtOnce bounds the probes on their way: as many as begin while one may last.
	probesAtOnce = int(probeWithin / probeEvery)
)

// probe is one request as an orchestrator makes it: on a connection of its own.
type probe struct {
	at   time.Duration // when it was due, since the trial began
	took time.Duration // from then to the end of the answer
	ok   bool          // HTTP 200
}

// prober asks a URL every probeEvery, whether or not earlier answers have come, so that
// a server that stands still is seen by every probe of that time.
type prober struct {
	url    string
	began  time.Time
	client *http.Client
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu     sync.Mutex
	probes []probe
}

func startProber(url string, began time.Time) *prober {
	ctx, cancel := context.WithCancel(context.Background())
	p := &prober{
		url: url, began: began, cancel: cancel,
		client: &http.Client{Timeout: probeWithin, Transport: &http.Transport{DisableKeepAlives: true}},
	}
	p.wg.Go(func() { p.run(ctx) })
	return p
}

func (p *prober) run(ctx context.Context) {
	tick := time.NewTicker(probeEvery)
	defer tick.Stop()
	slots := make(chan struct{}, probesAtOnce)
	for {
		select {
		case due := <-tick.C:
			slots <- struct{}{}
			p.wg.Go(func() {
				defer func() { <-slots }()
				p.probe(ctx, due)
			})
		case <-ctx.Done():
			return
		}
	}
}

func (p *prober) probe(ctx context.Context, due time.Time) {
	ok := false
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url, nil)
	if err == nil {
		var resp *http.Response
		if resp, err = p.client.Do(req); err == nil {
			_, err = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close() // read to its end
			ok = err == nil && resp.StatusCode == http.StatusOK
		}
	}
	if ctx.Err() != nil {
		return // we ended it
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.probes = append(p.probes, probe{at: due.Sub(p.began), took: time.Since(due), ok: ok})
}

// stop ends the probes.
func (p *prober) stop() {
	p.cancel()
	p.wg.Wait()
}

// between returns the latencies, sorted, of what was due in a span of time, and how
// many of them failed, which count as having taken as long as a probe may. Before the
// first answer nobody listens: that is not counted.
func (p *prober) between(from, to time.Duration) latencies {
	p.mu.Lock()
	defer p.mu.Unlock()
	slices.SortFunc(p.probes, func(a, b probe) int { return int(a.at - b.at) })
	first := slices.IndexFunc(p.probes, func(b probe) bool { return b.ok })
	if first < 0 {
		return latencies{}
	}
	var l latencies
	for _, b := range p.probes[first:] {
		if b.at < from || b.at >= to {
			continue
		}
		if !b.ok {
			b.took = max(b.took, probeWithin)
			l.failed++
		}
		l.took = append(l.took, b.took)
	}
	slices.Sort(l.took)
	return l
}

// latencies are sorted.
type latencies struct {
	took   []time.Duration
	failed int
}

// at returns a quantile in milliseconds: the least latency that a share q of the
// probes does not exceed.
func (l latencies) at(q float64) float64 {
	if len(l.took) == 0 {
		return 0
	}
	i := int(q*float64(len(l.took))+0.999999) - 1
	return float64(l.took[min(max(i, 0), len(l.took)-1)]) / float64(time.Millisecond)
}

// serveIdle is a process that answers HTTP and does nothing else: what a probe of it
// takes is what the machine adds to a probe of the relay.
func serveIdle(ctx context.Context) error {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", loopback+"0")
	if err != nil {
		return err
	}
	fmt.Println(l.Addr())
	s := &http.Server{ReadHeaderTimeout: probeWithin, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "ok\n") // the client has gone
	})}
	go func() { _ = s.Serve(l) }() // until the process ends
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}
