package ingest

import (
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"github.com/cistern-archive/cistern/internal/netsim"
	"github.com/cistern-archive/cistern/internal/rogue"
)

// fate is what becomes of a host's bad connections.
type fate struct {
	refused       bool   // the attempt to connect fails
	reason        string // why we close it, "" when we do not
	after, within time.Duration
}

var fates = map[rogue.Kind]fate{
	rogue.Mute:           {refused: true, after: 15 * time.Second, within: 15 * time.Second},
	rogue.SlowHeaders:    {refused: true, after: 15 * time.Second, within: 15 * time.Second},
	rogue.EndlessHeaders: {refused: true},
	rogue.EndlessLine:    {refused: true},
	rogue.EndlessBody:    {refused: true},
	rogue.Garbage:        {refused: true},
	rogue.Compressed:     {refused: true},
	rogue.CutResponse:    {refused: true},
	rogue.ResetResponse:  {refused: true},
	rogue.CutMessage:     {},
	rogue.ResetMessage:   {},
	rogue.Reserved:       {},
	rogue.Resets:         {within: time.Second},
	rogue.TinyFragments:  {reason: "tiny_fragments"},
	rogue.EmptyFragments: {reason: "tiny_fragments"},
	rogue.LargeFragments: {reason: "endless_message"},
	rogue.LyingLength:    {reason: "endless_message"},
	rogue.SlowFragments:  {reason: "slow_message", after: 90 * time.Second, within: 120 * time.Second},
	rogue.PingFlood:      {reason: "control_frames"},
	rogue.PongFlood:      {reason: "control_frames"},
	rogue.Text:           {reason: "text_message"},
	rogue.Oversized:      {reason: "oversized"},
	rogue.Silent:         {reason: "silent", after: 90 * time.Second, within: 90 * time.Second},
}

// lifetimes notes how long connections last.
type lifetimes struct {
	mu  sync.Mutex
	all []time.Duration
}

func (l *lifetimes) of(play func(net.Conn)) func(net.Conn) {
	return func(c net.Conn) {
		began := time.Now()
		play(c)
		l.mu.Lock()
		defer l.mu.Unlock()
		l.all = append(l.all, time.Since(began))
	}
}

// Time is virtual here: it moves only when everybody waits. A flood that we read
// without end would stop it, and a neighbour that waits for the host in any way is late.
func TestWhateverAHostDoesItsNeighbourIsOnTimeAndItIsNotLost(t *testing.T) {
	const bad, events = 2, 3 // connections, and events of the host
	for _, kind := range rogue.Kinds() {
		want, ok := fates[kind]
		if kind == rogue.SplitResponse {
			continue // it keeps the rules
		}
		if !ok {
			t.Errorf("nobody says what becomes of %s", kind)
		}
		t.Run(string(kind), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newRogue(t, kind, rogue.Options{Messages: eventsOf(alice, events), Reform: bad})
				var lasted lifetimes
				s := newStreet(t, homes{alice: "rogue.example", bob: "pds.example"}, map[string]func(net.Conn){
					"rogue.example": lasted.of(h.Play), "pds.example": eachSecond(bob),
				}, nil)
				const long = 300 // seconds
				time.Sleep(long*time.Second + time.Second/2)
				s.stop()
				synctest.Wait()
				s.onTime("pds.example", long)
				s.hasOnce("rogue.example", events)
				s.meets(want, bad)
				if c := h.Count(); c.Connections != bad+1 || c.Fired < bad {
					t.Errorf("%+v of %d bad connections and a good one", c, bad)
				}
				for _, d := range lasted.all[:bad] {
					if d < want.after || d > want.within {
						t.Errorf("given up after %v, want %v to %v", d, want.after, want.within)
					}
				}
			})
		})
	}
}

// meets fails the test unless n connections had that fate.
func (s *street) meets(f fate, n int) {
	s.t.Helper()
	refused := s.counters("cistern_ingest_dials_total", "result")["failed"]
	if want := map[bool]int{true: n}[f.refused]; refused != want {
		s.t.Errorf("%d dials failed, want %d", refused, want)
	}
	for reason, closed := range s.counters("cistern_ingest_closed_total", "reason") {
		if reason != f.reason || closed != n {
			s.t.Errorf("%d closed as %s, want %d as %s", closed, reason, n, f.reason)
		}
		f.reason = ""
	}
	if f.reason != "" {
		s.t.Errorf("nothing was closed as %s", f.reason)
	}
}

// A host may ping often, and what it pinged while it was not read comes at once.
func TestPingsOfAnHonestHostAreBorne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dials := 0
		play := func(c net.Conn) {
			dials++
			defer c.Close()
			ws, err := answerUpgrade(c)
			if err != nil {
				return
			}
			go drain(ws)
			ping := func() bool { return ws.WriteControl(websocket.PingMessage, nil, time.Time{}) == nil }
			for range controlsAtOnce {
				ping()
			}
			send(ws, accountOf(alice, 1))
			for time.Sleep(time.Second); ping(); {
				time.Sleep(2 * time.Second / controlsPerSecond)
			}
		}
		s := newStreet(t, homes{alice: "pds.example"}, map[string]func(net.Conn){"pds.example": play}, nil)
		time.Sleep(10 * time.Minute)
		s.stop()
		s.hasOnce("pds.example", 1)
		if dials != 1 {
			t.Errorf("%d connections, want 1", dials)
		}
		time.Sleep(time.Second) // virtual: the script notices that it is over
	})
}

// Over TCP, all at once, beside a network that keeps the rules.
func TestAllRoguesAtOnceTakeNothingFromTheOthers(t *testing.T) {
	n := newNet(t, netsim.Options{Hosts: 3, Accounts: 8, Churn: 0.05})
	r := newRig(t, n.PLCURL(), &memLog{}, nil)
	seed := rand.Uint64()
	t.Logf("rogue seed %d", seed)
	var rogues []*rogue.Server
	for _, kind := range rogue.Kinds() {
		s, err := rogue.Serve("127.0.0.1:0", newRogue(t, kind, rogue.Options{Seed: seed, Every: 10 * time.Millisecond}))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(s.Close)
		rogues = append(rogues, s)
		r.addHosts(s.URL)
	}
	steps(t, n, 100)
	r.addHosts(n.HostURLs()...)
	for _, s := range rogues {
		until(t, string(s.Kind()), func() bool {
			steps(t, n, 1)
			return s.Count().Fired > 0
		})
	}
	steps(t, n, 100)
	r.caughtUp(n)
	r.sameTruth(n)
}
