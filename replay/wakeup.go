package replay

import (
	"sync"
	"time"
)

// How long readers may wait for company, so that many events are written at once: a
// write costs four times what an event in it does, whatever it is.
const (
	tickPerReader = 34 * time.Microsecond
	maxTick       = 30 * time.Millisecond
	// stepEvery is how often some of many readers are woken: all at once they would wait for
	// each other, and what else there is to do for them.
	stepEvery = time.Millisecond
	// patience is how many rounds a reader may leave its token before it does not count: a
	// peer that takes nothing makes nobody else wait for company.
	patience = 50
)

// wakeup tells readers that events were published. After a quiet tick all are told at once;
// while events keep coming each is told once a tick, some every millisecond, in turn. The tick
// grows with the number of readers (docs/decisions/0011-replay.md).
type wakeup struct {
	mu      sync.Mutex
	list    []sleeping // the readers, in turn
	live    int        // of them, those that took their tokens lately, as of the last round
	counted int        // of them, in this round
	places  map[chan<- struct{}]int
	at      int // whose turn it is
	pending int // readers from at on that were not told yet, all round
	timer   *time.Timer
	armed   bool
	quiet   bool      // nothing came for a tick
	last    time.Time // when readers were woken
	stopped bool
}

// sleeping is a reader.
type sleeping struct {
	wake chan<- struct{}
	left int // rounds since it took a token
}

func (w *wakeup) init() {
	w.places = map[chan<- struct{}]int{}
	w.timer = time.AfterFunc(time.Hour, w.wake)
	w.timer.Stop()
}

// join lets wake be sent a token, if it has room for one, whenever there may be events.
func (w *wakeup) join(wake chan<- struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.places[wake] = len(w.list)
	w.list = append(w.list, sleeping{wake: wake})
	w.live++
	w.again()
}

func (w *wakeup) leave(wake chan<- struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	i, last := w.places[wake], len(w.list)-1
	w.list[i] = w.list[last]
	w.places[w.list[i].wake] = i
	w.list[last] = sleeping{}
	w.list = w.list[:last]
	w.live = min(w.live, last)
	delete(w.places, wake)
	w.again()
}

// again begins a round that is under way anew, since places changed.
func (w *wakeup) again() {
	if w.pending > 0 {
		w.pending = len(w.list)
	}
}

// signal says that events were published.
func (w *wakeup) signal() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stopped || len(w.list) == 0 {
		return
	}
	w.pending = len(w.list)
	if w.armed {
		return
	}
	tick, since := w.tick(), time.Since(w.last)
	w.armed, w.quiet = true, since >= tick
	w.timer.Reset(max(0, step(tick)-since))
}

// tick is how long it takes until each reader had its turn.
func (w *wakeup) tick() time.Duration {
	return min(time.Duration(max(w.live, 1))*tickPerReader, maxTick)
}

// step is after how long the next readers are woken.
func step(tick time.Duration) time.Duration { return min(tick, stepEvery) }

func (w *wakeup) wake() {
	w.mu.Lock()
	defer w.mu.Unlock()
	tick, now := w.tick(), time.Now()
	n := w.pending
	if n > 0 && !w.quiet { // as many as are due by now: a timer may be late
		n = min(n, max(1, int(now.Sub(w.last)*time.Duration(len(w.list))/tick)))
	}
	for range n {
		if w.at >= len(w.list) {
			w.at, w.live, w.counted = 0, w.counted, 0
		}
		w.tell(&w.list[w.at])
		w.at++
	}
	w.pending -= n
	w.quiet, w.last = false, now
	if w.armed = w.pending > 0 && !w.stopped; w.armed {
		w.timer.Reset(step(tick))
	}
}

// tell wakes a reader, and sees whether it took its last token.
func (w *wakeup) tell(s *sleeping) {
	s.left++
	if nudge(s.wake) {
		s.left = 0
	}
	if s.left < patience {
		w.counted++
	}
}

// nudge puts a token into a channel that has room for one, and says whether it had.
func nudge(wake chan<- struct{}) bool {
	select {
	case wake <- struct{}{}:
		return true
	default:
		return false
	}
}

func (w *wakeup) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stopped = true
	w.timer.Stop()
}
