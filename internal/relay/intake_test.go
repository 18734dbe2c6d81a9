package relay

import (
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/cistern-archive/cistern/internal/config"
	"github.com/cistern-archive/cistern/internal/netsim"
	"github.com/cistern-archive/cistern/testing/await"
)

// patience is when a test gives up; no claim depends on it.
const patience = 2 * time.Minute

func until(t *testing.T, what string, cond func() bool) {
	t.Helper()
	await.Until(t, patience, what, cond)
}

// stage is a simulated network and a relay that reads it.
type stage struct {
	*Relay
	t   *testing.T
	net *netsim.Network
	cfg config.Config
}

func newStage(t *testing.T, tune ...func(*netsim.Options)) *stage {
	t.Helper()
	o := netsim.Options{Seed: rand.Uint64(), Hosts: 2, Accounts: 6, Records: 20, Churn: 0.1}
	t.Logf("netsim seed %d", o.Seed)
	for _, f := range tune {
		f(&o)
	}
	n, err := netsim.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	return &stage{t: t, net: n, cfg: config.Config{
		DataDir: t.TempDir(), Bind: "127.0.0.1:0", PLCHosts: []string{n.PLCURL()}, Hosts: n.HostURLs(),
		SegmentBytes: 64 << 10,
	}}
}

func (s *stage) start() {
	s.t.Helper()
	var err error
	s.Relay, err = Start(s.t.Context(), s.cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *stage) stop() {
	s.t.Helper()
	if err := s.Stop(); err != nil {
		s.t.Fatal(err)
	}
}

func (s *stage) steps(n int) {
	s.t.Helper()
	for range n {
		if err := s.net.Step(); err != nil {
			s.t.Fatal(err)
		}
	}
}

// caughtUp waits until the relay has decided everything that the network sent.
func (s *stage) caughtUp() {
	s.t.Helper()
	until(s.t, "every event to be decided", func() bool {
		at := make(map[string]uint64)
		for _, h := range s.Hosts() {
			at[h.Name] = h.Cursor
		}
		for _, h := range s.net.Hosts() {
			if at[h.Name] < h.Seq() {
				return false
			}
		}
		return true
	})
}

// sameTruth reads the relay from the first event and compares that with the network's
// ledger.
func (s *stage) sameTruth() {
	s.t.Helper()
	tip := s.Log().Tip()
	conn, _, err := websocket.DefaultDialer.Dial("ws://"+s.Addr()+"/xrpc/com.atproto.sync.subscribeRepos?cursor=0", nil)
	if err != nil {
		s.t.Fatal(err)
	}
	defer conn.Close()
	c := netsim.NewComparison(s.net.Ledger())
	for range tip {
		_, frame, err := conn.ReadMessage()
		if err != nil {
			s.t.Fatal(err)
		}
		c.Add(frame)
	}
	rep := c.Report()
	if err := rep.Err(); err != nil {
		s.t.Errorf("the stream is not what the network sent: %v", err)
	}
}

func TestAStartWithoutItsIndexGoesOnWhereItWas(t *testing.T) {
	s := newStage(t)
	for i := range 4 {
		s.start()
		s.steps(100)
		s.caughtUp()
		until(t, "the log to be durable", func() bool { return s.Log().Tip() == uint64(s.net.Len()) })
		s.sameTruth()
		s.stop()
		if i%2 == 0 {
			if err := os.RemoveAll(filepath.Join(s.cfg.DataDir, indexFolder)); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// An index that is lost while the relay runs costs nothing but the time to make it
// anew; consumers do not notice.
func TestAnIndexThatIsLostIsMadeAnewWhileServingGoesOn(t *testing.T) {
	s := newStage(t)
	s.start()
	defer s.stop()
	conn, _, err := websocket.DefaultDialer.Dial("ws://"+s.Addr()+"/xrpc/com.atproto.sync.subscribeRepos?cursor=0", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for i := range 3 {
		s.steps(100)
		s.caughtUp()
		for range 100 {
			if _, _, err := conn.ReadMessage(); err != nil {
				t.Fatalf("round %d: %v", i, err)
			}
		}
		lost := s.intake.current.Load()
		if err := os.RemoveAll(filepath.Join(s.cfg.DataDir, indexFolder)); err != nil {
			t.Fatal(err)
		}
		if err := lost.index.Close(); err == nil && i == 0 {
			t.Log("the index closed well although its files are gone")
		}
		until(t, "another index", func() bool {
			now := s.intake.current.Load()
			return now != nil && now.index != lost.index && now.manager != nil
		})
	}
	s.steps(100)
	s.caughtUp()
	until(t, "the log to be durable", func() bool { return s.Log().Tip() == uint64(s.net.Len()) })
	s.sameTruth()
}

func TestADirectoryThatCannotBeAnIndexStopsReadingAndNothingElse(t *testing.T) {
	s := newStage(t)
	path := filepath.Join(s.cfg.DataDir, indexFolder)
	if err := os.WriteFile(path, []byte("in the way"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.start()
	defer s.stop()
	conn, _, err := websocket.DefaultDialer.Dial("ws://"+s.Addr()+"/xrpc/com.atproto.sync.subscribeRepos?cursor=0", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if len(s.Hosts()) != 0 {
		t.Error("hosts are read without an index")
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	s.steps(20)
	s.caughtUp()
	for range 20 {
		if _, _, err := conn.ReadMessage(); err != nil {
			t.Fatal(err)
		}
	}
}
