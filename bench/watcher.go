package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strconv"
	"sync"
	"time"
)

const (
	lookEvery   = 250 * time.Millisecond // at /proc
	scrapeEvery = 5 * time.Second        // of /metrics, which costs the relay something
)

// look is what the kernel says of a process at one instant.
type look struct {
	at       time.Duration // since the trial began
	threads  int
	resident int64 // bytes
	files    int   // open descriptors
	cpu      time.Duration
}

// scrape is what the relay says of itself.
type scrape struct {
	at          time.Duration
	goroutines  int
	heap        int64 // bytes of live and not yet collected objects
	connections int
	tip         int
}

// watcher looks at the relay's process, again and again.
type watcher struct {
	r      *relay
	began  time.Time
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu      sync.Mutex
	looks   []look
	scrapes []scrape
}

func startWatcher(r *relay, began time.Time) *watcher {
	ctx, cancel := context.WithCancel(context.Background())
	w := &watcher{r: r, began: began, cancel: cancel}
	w.wg.Go(func() {
		every(ctx, lookEvery, func() {
			if l, err := lookAt(r.pid()); err == nil { // else it has ended, and who waits for it notices
				w.mu.Lock()
				defer w.mu.Unlock()
				l.at = time.Since(began)
				w.looks = append(w.looks, l)
			}
		})
	})
	w.wg.Go(func() {
		every(ctx, scrapeEvery, func() {
			if s, err := w.scrape(ctx); err == nil { // else it is not up yet, or no more
				w.mu.Lock()
				defer w.mu.Unlock()
				w.scrapes = append(w.scrapes, s)
			}
		})
	})
	return w
}

func every(ctx context.Context, d time.Duration, f func()) {
	tick := time.NewTicker(d)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			f()
		case <-ctx.Done():
			return
		}
	}
}

func (w *watcher) stop() {
	w.cancel()
	w.wg.Wait()
}

// scrape asks the relay for its metrics once.
func (w *watcher) scrape(ctx context.Context) (scrape, error) {
	s := scrape{at: time.Since(w.began)}
	names := map[string]func(float64){
		"go_goroutines":                func(v float64) { s.goroutines = int(v) },
		"go_memstats_heap_alloc_bytes": func(v float64) { s.heap = int64(v) },
		"cistern_ingest_connections":   func(v float64) { s.connections = int(v) },
		"cistern_log_tip_seq":          func(v float64) { s.tip = int(v) },
	}
	return s, w.r.scrape(ctx, names)
}

// lookAt reads /proc (proc(5)).
func lookAt(pid int) (look, error) {
	var l look
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return l, err
	}
	for line := range bytes.Lines(b) {
		name, rest, _ := bytes.Cut(line, []byte(":"))
		v, err := strconv.ParseInt(string(bytes.TrimSuffix(bytes.TrimSpace(rest), []byte(" kB"))), 10, 64)
		switch {
		case err != nil:
		case string(name) == "Threads":
			l.threads = int(v)
		case string(name) == "VmRSS":
			l.resident = v << 10
		}
	}
	files, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		return l, err
	}
	l.files = len(files)
	l.cpu, err = cpuTime(pid)
	return l, err
}

// looksBetween returns what was seen in a span of time.
func (w *watcher) looksBetween(from, to time.Duration) []look {
	w.mu.Lock()
	defer w.mu.Unlock()
	return spanOf(w.looks, from, to, func(l look) time.Duration { return l.at })
}

func (w *watcher) scrapesBetween(from, to time.Duration) []scrape {
	w.mu.Lock()
	defer w.mu.Unlock()
	return spanOf(w.scrapes, from, to, func(s scrape) time.Duration { return s.at })
}

func spanOf[T any](all []T, from, to time.Duration, at func(T) time.Duration) (in []T) {
	for _, v := range all {
		if t := at(v); t >= from && t < to {
			in = append(in, v)
		}
	}
	return in
}
