package ingest

import (
	"errors"
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"github.com/cistern-archive/cistern/internal/frame"
	"github.com/cistern-archive/cistern/internal/netsim"
)

var errBlocked = errors.New("blocked by an operator")

func TestAHostThatIsDroppedIsCutOffAtOnceAndNotDialledAgain(t *testing.T) {
	cut := make(chan error, 8)
	s := newStage(t, func(i int, c *websocket.Conn) {
		send(c, accountFrame(uint64(10*i+1)), accountFrame(uint64(10*i+2)))
		_, _, err := c.NextReader()
		cut <- err
	})
	r := stageRig(t, s, nil)
	r.hasSeqs(1, 2)
	if r.m.DropHost("else.example", errBlocked) || !r.m.DropHost(s.name(), errBlocked) || r.m.DropHost(s.name(), errBlocked) {
		t.Error("DropHost does not say whether the host was read")
	}
	var ce *websocket.CloseError
	if err := <-cut; !errors.As(err, &ce) || ce.Code != websocket.ClosePolicyViolation || ce.Text != errBlocked.Error() {
		t.Errorf("the host saw %v", err)
	}
	info := func() HostInfo {
		i, ok := r.m.Host(s.name())
		if !ok {
			t.Fatal("the host is forgotten")
		}
		return i
	}
	until(t, "the connection to be gone", func() bool { return !info().Connected })
	if i := info(); i.Read || i.LastError != errBlocked.Error() || i.Cursor != 2 {
		t.Errorf("it stands as %+v", i)
	}
	if r.m.WakeHost(s.name()) || r.m.KickHost(s.name(), errBlocked) {
		t.Error("a dropped host can be woken or kicked")
	}
	r.addHosts(s.URL) // and it is read on from where it was
	r.hasSeqs(1, 2, 11, 12)
	if s.connections() != 2 || s.cursor(1) != "2" {
		t.Errorf("%d connections, the second with cursor %s", s.connections(), s.cursor(1))
	}
}

func TestAHostThatIsDroppedWhileItIsDialledOrWaitsIsNotDialledAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dials := 0
		m := bubbleManager(t, "pds.example", func(i int) (net.Conn, error) {
			dials++
			return nil, errors.New("nobody is there")
		})
		time.Sleep(2 * time.Second) // at 0 and 1 s, next at 3 s
		m.DropHost("pds.example", errBlocked)
		time.Sleep(time.Hour)
		synctest.Wait()
		if dials != 2 {
			t.Errorf("%d dials, want 2", dials)
		}
		if err := m.AddHost("http://pds.example", true); err != nil {
			t.Fatal(err)
		}
		time.Sleep(500 * time.Millisecond)
		synctest.Wait()
		if dials != 3 {
			t.Errorf("%d dials after it was added again, want 3", dials)
		}
		if err := m.Stop(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestAHostThatIsKickedComesBack(t *testing.T) {
	s := newStage(t, func(i int, c *websocket.Conn) {
		send(c, accountFrame(uint64(i+1)))
		drain(c)
	})
	r := stageRig(t, s, nil)
	r.hasSeqs(1)
	if !r.m.KickHost(s.name(), errors.New("ended by an operator")) {
		t.Error("there was no connection to end")
	}
	r.hasSeqs(1, 2)
}

func TestAHostThatIsWokenIsDialledSoonButNotMoreOftenThanThat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		var at []time.Duration
		m := bubbleManager(t, "pds.example", func(int) (net.Conn, error) {
			at = append(at, time.Since(begin).Round(time.Millisecond))
			return nil, errors.New("nobody is there")
		})
		time.Sleep(45 * time.Second) // dialled at 0 1 3 7 15 31, next at 61
		if !m.WakeHost("pds.example") || m.WakeHost("else.example") {
			t.Error("WakeHost does not say whether the host is read")
		}
		time.Sleep(500 * time.Millisecond)
		synctest.Wait()
		s := time.Second
		if want := []time.Duration{0, 1 * s, 3 * s, 7 * s, 15 * s, 31 * s, 45 * s}; !slices.Equal(at, want) {
			t.Errorf("dialled at %v, want %v", at, want)
		}
		at = nil
		for range 1000 { // a hundred seconds of calls
			m.WakeHost("pds.example")
			time.Sleep(100 * time.Millisecond)
		}
		synctest.Wait()
		// The backoff begins anew at each call, so the wait is a second at most.
		if len(at) < 20 || len(at) > 101 {
			t.Errorf("%d dials in 100 s of calls", len(at))
		}
		if err := m.Stop(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// fares is an Observer that keeps what it is told.
type fares struct {
	mu  sync.Mutex
	log []string
}

func (f *fares) add(s string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.log = append(f.log, s)
}

func (f *fares) HostConnected(host string)       { f.add("+" + host) }
func (f *fares) HostFailed(host string, _ error) { f.add("-" + host) }

func (f *fares) all() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.log)
}

func TestAHostThatIsTriedIsKeptOnlyIfItAnswers(t *testing.T) {
	s := newStage(t, func(i int, c *websocket.Conn) {
		send(c, accountFrame(uint64(i+1)))
		drain(c)
	})
	var f fares
	r := newRig(t, "http://127.0.0.1:1", &memLog{}, func(o *Options) {
		o.Resolver, o.Observer = believer{s.name()}, &f
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	deaf := "http://" + l.Addr().String()
	l.Close()
	for _, url := range []string{deaf, "http://nobody home", "ftp://x.example"} {
		if err := r.m.TryHost(t.Context(), url, true); err == nil {
			t.Errorf("%s was taken", url)
		}
	}
	if hosts := r.m.Hosts(); len(hosts) != 0 {
		t.Errorf("kept %+v", hosts)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if err := r.m.TryHost(t.Context(), s.URL, true); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	until(t, "one connection to be left", func() bool {
		h := r.m.Hosts()
		return len(h) == 1 && h[0].Connected
	})
	if err := r.m.TryHost(t.Context(), s.URL, true); err != nil { // it is read already
		t.Error(err)
	}
	until(t, "its first event", func() bool { return len(r.log.all()) >= 1 })
	for i := range s.connections() {
		if s.cursor(i) != "0" {
			t.Errorf("cursor %s of the first connection to a new host, want 0", s.cursor(i))
		}
	}
	until(t, "the observer to know", func() bool { return slices.Contains(f.all(), "+"+s.name()) })
	r.stop()
	if err := r.m.TryHost(t.Context(), s.URL, true); !errors.Is(err, ErrStopped) {
		t.Errorf("after the end: %v", err)
	}
}

// A host that was restored from nothing sends all it has under new numbers: what the
// log knows of it is old by its rev, whatever its number.
func TestWhatAHostSendsAgainUnderNewNumbersIsKnownByItsRev(t *testing.T) {
	n := newNet(t, netsim.Options{Hosts: 1, Accounts: 4, Churn: -1})
	r := newRig(t, n.PLCURL(), &memLog{}, nil)
	r.addHosts(n.HostURLs()...)
	steps(t, n, 30)
	r.caughtUp(n)
	known := r.log.all()
	addr := n.Host(0).Name
	if err := n.Host(0).Stop(); err != nil {
		t.Fatal(err)
	}
	var again [][]byte
	for i, rec := range known {
		f, err := frame.Splice(rec.Frame, uint64(i+1))
		if err != nil {
			t.Fatal(err)
		}
		again = append(again, f)
	}
	s := newStageAt(t, addr, func(i int, c *websocket.Conn) {
		if i == 0 {
			send(c, errorFrame("FutureCursor"))
		} else {
			send(c, again...)
		}
		drain(c)
	})
	until(t, "all to be sent again and decided", func() bool {
		h := r.m.Hosts()[0]
		return h.Epoch == 1 && h.Cursor == uint64(len(again))
	})
	if s.cursor(0) == "0" || s.cursor(1) != "0" {
		t.Errorf("cursors %s and %s, want the last one and 0", s.cursor(0), s.cursor(1))
	}
	if got := len(r.log.all()); got != len(known) {
		t.Errorf("%d events in the log, want the %d that were there", got, len(known))
	}
	if got := r.rejections()["rev_old"]; got != len(known) {
		t.Errorf("rejections %v, want %d of old revs", r.rejections(), len(known))
	}
}
