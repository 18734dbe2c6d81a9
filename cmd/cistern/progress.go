package main

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

// How often progress is shown on a terminal, and elsewhere.
const (
	barEvery  = 100 * time.Millisecond
	lineEvery = 5 * time.Second
	barWidth  = 30 // characters
)

// progressBar shows how far a long task is, its rate and the time left: one line
// that is drawn over on a terminal, a line every few seconds elsewhere.
type progressBar struct {
	w        io.Writer
	terminal bool
	now      func() time.Time

	began, shown time.Time
	drawn        bool
}

// set says that done of total bytes are done.
func (b *progressBar) set(done, total int64) {
	now := b.now()
	if b.began.IsZero() {
		b.began, b.shown = now, now
	}
	every := lineEvery
	if b.terminal {
		every = barEvery
	}
	if now.Sub(b.shown) < every || total <= 0 {
		return
	}
	b.shown = now
	rate := float64(done) / now.Sub(b.began).Seconds()
	left := time.Duration(float64(total-done) / max(rate, 1) * float64(time.Second)).Round(time.Second)
	share := min(float64(done)/float64(total), 1)
	text := fmt.Sprintf("%3.0f %%  %s of %s  %s/s  %s left", 100*share, bytesText(done), bytesText(total), bytesText(int64(rate)), left)
	if !b.terminal {
		fmt.Fprintln(b.w, text)
		return
	}
	full := int(share * barWidth)
	fmt.Fprintf(b.w, "\r[%s%s] %s\x1b[K", strings.Repeat("#", full), strings.Repeat(".", barWidth-full), text)
	b.drawn = true
}

// clear takes the bar away, so that something else can be printed.
func (b *progressBar) clear() {
	if b.drawn {
		fmt.Fprint(b.w, "\r\x1b[K")
		b.drawn = false
	}
}

// bytesText is a number of bytes for people, in units of 1,000.
func bytesText(n int64) string {
	v, unit := float64(n), 0
	for v >= 999.95 && unit < 5 {
		v, unit = v/1000, unit+1
	}
	if unit == 0 {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f %cB", v, " kMGTP"[unit])
}

// sharedBar is a bar that several goroutines draw.
type sharedBar struct {
	mu  sync.Mutex
	bar *progressBar
}

func newShared(b *progressBar) *sharedBar { return &sharedBar{bar: b} }

func (s *sharedBar) set(done, total int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bar.set(done, total)
}

// say prints a line above the bar.
func (s *sharedBar) say(line string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bar.clear()
	fmt.Fprintln(s.bar.w, line)
}

func (s *sharedBar) clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bar.clear()
}
