package replay

import (
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"
)

// sleeper is a reader that notes when it was woken.
type sleeper struct {
	wake  chan struct{}
	since time.Time
	at    []time.Time
}

func sleepers(w *wakeup, n int) []*sleeper {
	var list []*sleeper
	for range n {
		s := &sleeper{wake: make(chan struct{}, 1), since: time.Now()}
		go func() {
			for range s.wake {
				s.at = append(s.at, time.Now())
			}
		}()
		w.join(s.wake)
		list = append(list, s)
	}
	return list
}

func tickOf(w *wakeup) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.tick()
}

func end(list []*sleeper) {
	for _, s := range list {
		close(s.wake)
	}
	synctest.Wait()
}

func TestAfterAQuietTickAllReadersAreWokenAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w wakeup
		w.init()
		list := sleepers(&w, 500)
		for range 3 {
			time.Sleep(time.Second)
			w.signal()
			synctest.Wait()
			for i, s := range list {
				if n := len(s.at); n == 0 || time.Since(s.at[n-1]) != 0 {
					t.Fatalf("reader %d was not woken at once", i)
				}
			}
		}
		w.stop()
		end(list)
	})
}

func TestWhileEventsFlowEveryReaderIsWokenOnceATick(t *testing.T) {
	for _, n := range []int{1, 10, 33, 34, 500, 1000, 3000} {
		synctest.Test(t, func(t *testing.T) {
			var w wakeup
			w.init()
			list := sleepers(&w, n)
			w.signal()
			began := time.Now()
			for time.Since(began) < time.Second {
				time.Sleep(200 * time.Microsecond)
				w.signal()
			}
			w.stop()
			synctest.Wait()
			tick := tickOf(&w)
			fewest, most := int(time.Second/(tick+2*stepEvery)), 1+int(time.Second/max(tick-stepEvery, 200*time.Microsecond))
			for i, s := range list {
				if len(s.at) < fewest || len(s.at) > most {
					t.Fatalf("of %d, reader %d was woken %d times, want %d to %d", n, i, len(s.at), fewest, most)
				}
				for j := range s.at[1:] {
					if gap := s.at[j+1].Sub(s.at[j]); gap > tick+2*stepEvery {
						t.Fatalf("of %d, reader %d was not woken for %s", n, i, gap)
					}
				}
			}
			end(list)
		})
	}
}

// Whoever comes and goes, no reader misses the last event: it is woken within a tick of it.
func TestNobodyIsForgottenWhileOthersComeAndGo(t *testing.T) {
	rng := rand.New(rand.NewPCG(seed(t), 3))
	synctest.Test(t, func(t *testing.T) {
		var w wakeup
		w.init()
		list := sleepers(&w, 200)
		comeOrGo := func() {
			time.Sleep(time.Duration(rng.IntN(2000)) * time.Microsecond)
			if rng.IntN(2) == 0 || len(list) < 100 {
				list = append(list, sleepers(&w, 1)...)
				return
			}
			i := rng.IntN(len(list))
			w.leave(list[i].wake)
			end(list[i : i+1])
			list = append(list[:i], list[i+1:]...)
		}
		for range 500 {
			for range 1 + rng.IntN(10) {
				w.signal()
				comeOrGo()
			}
			w.signal() // the last event for a while
			said := time.Now()
			for range rng.IntN(5) {
				comeOrGo()
			}
			time.Sleep(tickOf(&w) + 2*stepEvery)
			synctest.Wait()
			for i, s := range list {
				if n := len(s.at); s.since.Before(said) && (n == 0 || s.at[n-1].Before(said)) {
					t.Fatalf("reader %d of %d was forgotten", i, len(list))
				}
			}
		}
		w.stop()
		end(list)
	})
}

// A timer is late when the processors have much to do, which is when it matters.
func TestALateTimerWakesThoseThatAreDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w wakeup
		w.init()
		list := sleepers(&w, 500)
		w.signal()
		synctest.Wait()
		w.signal()
		w.timer.Stop()
		time.Sleep(tickOf(&w) / 2)
		w.wake()
		synctest.Wait()
		woken := 0
		for _, s := range list {
			if len(s.at) == 2 {
				woken++
			}
		}
		if woken < 240 || woken > 290 {
			t.Errorf("after half a tick %d of 500 were woken", woken)
		}
		w.stop()
		end(list)
	})
}

// Two hundred peers that take nothing must not make ten that read wait for company.
func TestReadersThatTakeNothingMakeNobodyWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w wakeup
		w.init()
		list := sleepers(&w, 10)
		for range 200 {
			w.join(make(chan struct{}, 1)) // nobody takes its token
		}
		if got := tickOf(&w); got != 210*tickPerReader {
			t.Errorf("the tick begins as %s", got)
		}
		flow := func() {
			for range 5000 {
				time.Sleep(200 * time.Microsecond)
				w.signal()
			}
		}
		flow()
		if tick := tickOf(&w); tick != 10*tickPerReader {
			t.Errorf("after a while it is %s", tick)
		}
		synctest.Wait()
		before := len(list[0].at)
		flow()
		w.stop()
		synctest.Wait()
		if n := len(list[0].at) - before; n < 900 { // one second, one token a millisecond at the most
			t.Errorf("a reader is woken %d times a second", n)
		}
		end(list)
	})
}
