package bucket

import (
	"errors"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

// stalled returns a stalling connection and its other end, both in memory.
func stalled(t *testing.T, after time.Duration) (*stalling, net.Conn) {
	t.Helper()
	here, there := net.Pipe()
	t.Cleanup(func() {
		if err := errors.Join(here.Close(), there.Close()); err != nil {
			t.Error(err)
		}
	})
	return &stalling{Conn: here, after: after, dialled: time.Now()}, there
}

func TestWaitingForAnAnswerIsNoStallWhileTheBodyMoves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, store := stalled(t, time.Minute)
		read := make(chan error, 1)
		go func() {
			_, err := c.Read(make([]byte, 1))
			read <- err
		}()
		go func() { // a store that takes a byte each half minute for ten minutes, then answers
			b := make([]byte, 1)
			for range 20 {
				time.Sleep(30 * time.Second)
				if _, err := store.Read(b); err != nil {
					t.Error(err)
				}
			}
			if _, err := store.Write(b); err != nil {
				t.Error(err)
			}
		}()
		for range 20 {
			if _, err := c.Write([]byte("x")); err != nil {
				t.Fatal(err)
			}
		}
		if err := <-read; err != nil {
			t.Errorf("the answer after ten minutes of sending: %v", err)
		}
	})
}

func TestAConnectionThatMovesNothingEndsInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, store := stalled(t, time.Minute)
		for what, f := range map[string]func([]byte) (int, error){"read": c.Read, "write": c.Write} {
			began := time.Now()
			if _, err := f(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(began) != time.Minute {
				t.Errorf("%s ended after %v: %v", what, time.Since(began), err)
			}
		}
		go func() {
			if _, err := store.Read(make([]byte, 1)); err != nil {
				t.Error(err)
			}
		}()
		if _, err := c.Write([]byte("x")); err != nil { // a write before the wait does not lengthen it
			t.Fatal(err)
		}
		began := time.Now()
		if _, err := c.Read(make([]byte, 1)); KindOf(err) != "timeout" || time.Since(began) != time.Minute {
			t.Errorf("read ended after %v: %v", time.Since(began), err)
		}
	})
}
