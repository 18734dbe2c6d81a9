package replay

import (
	"sync"
	"time"
)

// How long readers may wait for company, so that many events are written at once: a
// write costs four times what an event in it does, whatever it is.
const (
	tickPerReader = 30 * time.Microsecond
	maxTick       = 15 * time.Millisecond
)

// wakeup tells readers that events were published. The first event after a quiet tick is
// told at once, what comes during the next tick at its end. The tick grows with the number
// of readers (docs/decisions/0011-replay.md).
type wakeup struct {
	mu      sync.Mutex
	readers map[chan<- struct{}]struct{}
	timer   *time.Timer
	armed   bool
	last    time.Time // when readers were woken
	stopped bool
}

func (w *wakeup) init() {
	w.readers = map[chan<- struct{}]struct{}{}
	w.timer = time.AfterFunc(time.Hour, w.wake)
	w.timer.Stop()
}

// join lets wake be sent a token, if it has room for one, whenever there may be events.
func (w *wakeup) join(wake chan<- struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.readers[wake] = struct{}{}
}

func (w *wakeup) leave(wake chan<- struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.readers, wake)
}

// signal says that events were published.
func (w *wakeup) signal() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.armed || w.stopped || len(w.readers) == 0 {
		return
	}
	w.armed = true
	w.timer.Reset(max(0, w.tick()-time.Since(w.last)))
}

func (w *wakeup) tick() time.Duration {
	return min(time.Duration(len(w.readers))*tickPerReader, maxTick)
}

func (w *wakeup) wake() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.armed, w.last = false, time.Now()
	for r := range w.readers {
		nudge(r)
	}
}

// nudge puts a token into a channel that has room for one, unless it has one.
func nudge(wake chan<- struct{}) {
	select {
	case wake <- struct{}{}:
	default:
	}
}

func (w *wakeup) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stopped = true
	w.timer.Stop()
}
