package relay

import (
	"bytes"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"testing"
	"time"

	"github.com/cistern-archive/cistern/internal/accounts"
	"github.com/cistern-archive/cistern/internal/config"
	"github.com/cistern-archive/cistern/internal/frame"
	"github.com/cistern-archive/cistern/segmentlog"
	"github.com/cistern-archive/cistern/segmentlog/bucket/miniotest"
)

// mirror is a relay that follows the stage's.
type mirror struct {
	*stage
	of *stage
}

func newMirror(of *stage) *mirror {
	m := &mirror{of: of, stage: &stage{t: of.t, net: of.net}}
	m.cfg = config.Config{
		DataDir: of.t.TempDir(), Bind: "127.0.0.1:0", PLCHosts: of.cfg.PLCHosts, SegmentBytes: 64 << 10, AdminPasswords: []string{"secret"},
		Upstream: config.Upstream{Relays: []string{"http://" + of.Addr()}, Seq: config.SeqUpstream},
	}
	return m
}

// follows waits until the mirror has all that the relay has.
func (m *mirror) follows() {
	m.t.Helper()
	until(m.t, "the mirror to follow", func() bool { return m.Log().Tip() == m.of.Log().Tip() })
}

// frames reads a relay's stream behind a cursor.
func (s *stage) frames(cursor uint64, count int) (frames [][]byte) {
	s.t.Helper()
	c := dialAt(s.t, s, cursor)
	defer c.Close()
	for range count {
		_, raw, err := c.ReadMessage()
		if err != nil {
			s.t.Fatal(err)
		}
		frames = append(frames, raw)
	}
	return frames
}

func TestAMirrorsCursorsAreTheRelays(t *testing.T) {
	s := newStage(t)
	s.cfg.InitialSeq = 5_000_000_000
	s.start()
	defer s.stop()
	s.steps(scaled(t, 600))
	s.caughtUp()
	m := newMirror(s)
	m.start()
	s.steps(scaled(t, 600))
	s.caughtUp()
	m.follows()

	var seqs []uint64
	var ev frame.Event
	all := s.frames(0, -1+countOf(t, s))
	for _, raw := range all {
		if err := frame.ParseInto(raw, &ev); err != nil {
			t.Fatal(err)
		}
		seqs = append(seqs, ev.Seq)
	}
	rng := rand.New(rand.NewPCG(rand.Uint64(), 0))
	for range 100 {
		i := rng.IntN(len(seqs))
		n := min(len(seqs)-i-1, 1+rng.IntN(20))
		here, there := m.frames(seqs[i], n), s.frames(seqs[i], n)
		for k := range n {
			if !bytes.Equal(here[k], there[k]) || !bytes.Equal(here[k], all[i+1+k]) {
				t.Fatalf("after seq %d, event %d is another", seqs[i], k)
			}
		}
	}

	// A cursor of the relay that the mirror has not reached waits; one of nowhere is refused.
	ahead := dialAt(t, m.stage, m.Log().Tip()+10)
	defer ahead.Close()
	s.steps(30)
	if _, raw, err := ahead.ReadMessage(); err != nil || frame.ParseInto(raw, &ev) != nil || ev.Kind == frame.ErrorFrame {
		t.Errorf("a cursor ahead of the mirror: %v %v", ev.Name, err)
	}
	nowhere := dialAt(t, m.stage, 1<<50)
	defer nowhere.Close()
	if _, raw, err := nowhere.ReadMessage(); err != nil || frame.ParseInto(raw, &ev) != nil || ev.Name != "FutureCursor" {
		t.Errorf("a cursor of nowhere: %v %v", ev.Name, err)
	}
	early := dialAt(t, m.stage, 7) // before the relay's first
	defer early.Close()
	if _, raw, err := early.ReadMessage(); err != nil || frame.ParseInto(raw, &ev) != nil || ev.Name != "OutdatedCursor" {
		t.Errorf("a cursor of before the log: %v %v", ev.Name, err)
	}

	// And goes on after a stop, in the same numbers, but not with numbers of its own.
	m.stop()
	s.steps(50)
	s.caughtUp()
	m.start()
	m.follows()
	m.stop()
	m.cfg.Upstream.Seq = config.SeqOwn
	if r, err := Start(t.Context(), m.cfg, slog.New(slog.DiscardHandler)); err == nil {
		_ = r.Stop()
		t.Error("a log of the relay's numbers went on with its own")
	}
}

// countOf is how many events a relay's log has.
func countOf(t *testing.T, s *stage) (n int) {
	t.Helper()
	r := s.Log().NewReader(0)
	defer r.Close()
	var rec segmentlog.Record
	for r.Next(&rec) == nil {
		n++
	}
	return n
}

// The directory is lost twice: what was seen has the same number afterwards.
func TestAMirrorThatLostItsDiskHasTheSameNumbersAgain(t *testing.T) {
	s := newStage(t)
	s.start()
	defer s.stop()
	server := miniotest.Start(t)
	m := newMirror(s)
	m.cfg.SegmentBytes = 16 << 10
	m.cfg.Archive.URL, m.cfg.Archive.NewStream = server.URL("mirror"), true
	m.cfg.Archive.Watch = time.Millisecond
	for range 3 {
		m.start()
		s.steps(scaled(t, 300))
		s.caughtUp()
		m.follows()
		m.stop()
		loseDirectory(t, m.cfg.DataDir)
		m.cfg.Archive.TakeOver = true
	}
	m.start()
	m.follows()
	n := countOf(t, s)
	here, there := m.frames(0, n), s.frames(0, n)
	for i := range there {
		if !bytes.Equal(here[i], there[i]) {
			t.Fatalf("event %d is another", i)
		}
	}
	if e := m.Log().Stream().Epochs; len(e) < 3 {
		t.Errorf("epochs %+v: nothing was lost", e)
	}
	m.stop()
}

func TestAMirrorTakesAccountsDownWithoutANumber(t *testing.T) {
	s := newStage(t)
	s.start()
	defer s.stop()
	m := newMirror(s)
	m.start()
	a := s.net.Host(0).Account(0)
	post := func() {
		t.Helper()
		if _, err := s.net.Host(0).Post(a); err != nil {
			t.Fatal(err)
		}
		s.caughtUp()
	}
	post()
	m.follows()
	status := func(want accounts.Status) {
		t.Helper()
		if got := m.effective(a.DID); got != want {
			t.Errorf("%+v, want %+v", got, want)
		}
	}
	status(accounts.Status{})
	tip := m.Log().Tip()
	if code := m.admin("repo/takeDown", `{"did":"`+a.DID+`"}`); code != http.StatusOK {
		t.Fatalf("takedown: HTTP %d", code)
	}
	status(takenDown)
	if m.Log().Tip() != tip {
		t.Error("a takedown took a number")
	}
	if !m.consumers.suppressed.Has(a.DID) {
		t.Error("its events are served")
	}
	m.stop()
	loseDirectory(t, m.cfg.DataDir+"/"+indexFolder) // what the log does not say is said again
	m.start()
	until(t, "hosts to be read", func() bool { return m.intake.manager() != nil })
	status(takenDown)
	if !m.consumers.suppressed.Has(a.DID) {
		t.Error("its events are served after a start")
	}
	if code := m.admin("repo/reverseTakedown", `{"did":"`+a.DID+`"}`); code != http.StatusOK {
		t.Fatalf("reversal: HTTP %d", code)
	}
	status(accounts.Status{})
	if m.consumers.suppressed.Has(a.DID) {
		t.Error("its events are not served after the reversal")
	}
	post()
	until(t, "an event of the account", func() bool { return m.Log().Tip() >= tip+1 })
	m.stop()
}

func TestAMirrorCrawlsNobody(t *testing.T) {
	s := newStage(t)
	s.start()
	defer s.stop()
	s.steps(20)
	m := newMirror(s)
	m.start()
	defer m.stop()
	s.caughtUp()
	m.follows()
	resp, err := http.Post("http://"+m.Addr()+"/xrpc/com.atproto.sync.requestCrawl", "application/json", bytes.NewReader([]byte(`{"hostname":"pds.example.com"}`)))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, _ := io.ReadAll(resp.Body); resp.StatusCode < 400 {
		t.Errorf("requestCrawl: HTTP %d: %s", resp.StatusCode, body)
	}
	if h := m.Hosts(); len(h) != 1 || h[0].Relay == nil {
		t.Errorf("hosts %+v", h)
	}
}
