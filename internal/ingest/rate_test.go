package ingest

import (
	"context"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"github.com/cistern-archive/cistern/internal/accounts"
	"github.com/cistern-archive/cistern/internal/frame"
)

// numbered is a dialer that numbers its calls.
func numbered(dial func(i int) (net.Conn, error)) func(context.Context, string, string) (net.Conn, error) {
	i := -1
	return func(context.Context, string, string) (net.Conn, error) {
		i++
		return dial(i)
	}
}

// sender is a host over a pipe that sends account events 1 to n and keeps when each
// was taken from it.
func sender(n int, begin time.Time, taken *[]time.Duration) func(int) (net.Conn, error) {
	return func(i int) (net.Conn, error) {
		ours, theirs := net.Pipe()
		go func() {
			defer theirs.Close()
			c, err := answerUpgrade(theirs)
			if err != nil {
				return
			}
			for seq := range n {
				if c.WriteMessage(websocket.BinaryMessage, accountFrame(uint64(seq+1))) != nil {
					return
				}
				*taken = append(*taken, time.Since(begin))
			}
			drain(c)
		}()
		return ours, nil
	}
}

func TestAHostAboveItsRatesIsReadSlowlyAndLosesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var taken []time.Duration
		log := &memLog{}
		dials := 0
		dial := sender(40, time.Now(), &taken)
		m, err := New(Options{
			Log: log, Resolver: believer{"pds.example"}, Accounts: accounts.NewTable(accounts.Options{}),
			Rates: func(string) Rates { return Rates{PerSecond: 5, PerHour: 20, PerDay: 1000} },
			Dial: DialOptions{DialTrusted: numbered(func(i int) (net.Conn, error) {
				dials++
				return dial(i)
			})},
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := m.AddHost("http://pds.example", true); err != nil {
			t.Fatal(err)
		}
		// 20 in the first seconds, five a second, and then one every three minutes, which is
		// longer than a connection may be silent.
		time.Sleep(10 * time.Second)
		if n := len(log.all()); n != 20 {
			t.Errorf("%d events within 10 s, want the hour's 20", n)
		}
		if h := m.Hosts()[0]; !h.Throttled || h.Rates.PerHour != 20 {
			t.Errorf("it stands as %+v", h)
		}
		time.Sleep(30*time.Minute + time.Second)
		if n := len(log.all()); n != 30 {
			t.Errorf("%d events after half an hour, want 30", n)
		}
		time.Sleep(time.Hour)
		if n := len(log.all()); n != 40 || dials != 1 {
			t.Errorf("%d events of 40 on %d connections, want all on one", n, dials)
		}
		synctest.Wait()
		if d := taken[7] - taken[0]; d < 400*time.Millisecond {
			t.Errorf("eight events within %v at five a second", d)
		}
		time.Sleep(2 * throttledFor)
		if m.Hosts()[0].Throttled {
			t.Error("throttled long after it was slowed down")
		}
		if err := m.Stop(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestARateThatIsRaisedLetsAWaitingHostGoOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var taken []time.Duration
		log := &memLog{}
		rates := Rates{PerDay: 3}
		m, err := New(Options{
			Log: log, Resolver: believer{"pds.example"}, Accounts: accounts.NewTable(accounts.Options{}),
			Rates: func(string) Rates { return rates },
			Dial:  DialOptions{DialTrusted: numbered(sender(50, time.Now(), &taken))},
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := m.AddHost("http://pds.example", true); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if n := len(log.all()); n != 3 {
			t.Errorf("%d events, want the day's 3", n)
		}
		rates = Rates{}
		m.NewRates("pds.example")
		m.NewRates("else.example")
		time.Sleep(time.Second)
		if n := len(log.all()); n != 50 {
			t.Errorf("%d events once there is no limit, want 50", n)
		}
		if err := m.Stop(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestReconnectingGainsAHostNothing(t *testing.T) {
	b := newBrake(Rates{PerHour: 10}, time.Unix(0, 0))
	now := time.Unix(0, 0)
	passed := 0
	for range 1000 {
		if wait, _ := b.take(now); wait == 0 {
			passed++
		}
	}
	if passed != 10 {
		t.Errorf("%d events at once, want 10", passed)
	}
}

func TestAHostThatIsFarBehindRaisesAnAlertAndIsNamedOnceAnHour(t *testing.T) {
	var l lag
	now := time.Unix(1_767_225_600, 0)
	warnings := 0
	for minute := range 121 {
		at := now.Add(time.Duration(minute) * time.Minute)
		if l.note(at.Add(-behindAfter), at) {
			warnings++
		}
	}
	now = now.Add(2 * time.Hour)
	if warnings != 3 || l.behind(now) != behindAfter {
		t.Errorf("%d warnings in two hours, want 3; behind by %v", warnings, l.behind(now))
	}
	if by := l.behind(now.Add(behindFor)); by != 0 {
		t.Errorf("behind by %v although it has nothing more to say", by)
	}
	if l.note(now.Add(time.Second-behindAfter), now) || l.behind(now) != 0 {
		t.Error("behind after it sent something newer")
	}

	made := time.Now().Add(-13 * time.Hour)
	next := make(chan struct{})
	s := newStage(t, func(i int, c *websocket.Conn) {
		send(c, frame.NewAccount(alice, made, true, "").AppendFrame(nil, 1))
		<-next
		send(c, frame.NewAccount(alice, time.Now(), true, "").AppendFrame(nil, 2))
		drain(c)
	})
	r := stageRig(t, s, nil)
	r.hasSeqs(1)
	if n := r.counters("cistern_ingest_hosts_behind", "")[""]; n != 1 {
		t.Errorf("%d hosts are behind, want 1", n)
	}
	close(next)
	r.hasSeqs(1, 2)
	if n := r.counters("cistern_ingest_hosts_behind", "")[""]; n != 0 {
		t.Errorf("%d hosts are behind, want none", n)
	}
}
