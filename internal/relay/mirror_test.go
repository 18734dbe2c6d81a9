package relay

import (
	"bytes"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/cistern-archive/cistern/internal/accounts"
	"github.com/cistern-archive/cistern/internal/config"
	"github.com/cistern-archive/cistern/internal/frame"
	"github.com/cistern-archive/cistern/internal/netsim"
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

// follows waits until the mirror has all that the relay has, which is something.
func (m *mirror) follows() {
	m.t.Helper()
	until(m.t, "the mirror to follow", func() bool {
		tip := m.of.Log().Tip()
		return tip > 0 && m.Log().Tip() == tip && m.intake.manager() != nil
	})
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
	s := newStage(t, func(o *netsim.Options) { o.Churn = -1 }) // nobody leaves, so that everything is replayed
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
	all := s.logged()
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

// logged are the frames of a relay's log.
func (s *stage) logged() (frames [][]byte) {
	s.read(func(rec *segmentlog.Record, _ *frame.Event) { frames = append(frames, bytes.Clone(rec.Frame)) })
	return frames
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
	here, there := m.logged(), s.logged()
	if len(here) != len(there) {
		t.Fatalf("%d events, want %d", len(here), len(there))
	}
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

// Two relays crawl different hosts, one of them both's: what they bring together is what a
// relay of all would have, and who brought what can be asked.
func TestTwoRelaysAreMergedAndCompared(t *testing.T) {
	s := newStage(t, func(o *netsim.Options) { o.Hosts = 3 })
	all := s.cfg.Hosts
	s.cfg.Hosts = all[:2]
	s.start()
	defer s.stop()
	other := &stage{t: t, net: s.net, cfg: s.cfg}
	other.cfg.DataDir, other.cfg.Hosts = t.TempDir(), all[1:]
	other.start()
	defer other.stop()
	m := newMirror(s)
	m.cfg.Upstream = config.Upstream{Relays: []string{"http://" + s.Addr(), "http://" + other.Addr()}, Seq: config.SeqOwn}
	m.start()
	defer m.stop()
	s.steps(scaled(t, 200))
	other.cfg.Bind = other.Addr() // it is away for a while, and then late
	other.stop()
	s.steps(scaled(t, 200))
	other.start()
	decided := func(r *stage) bool {
		for _, h := range m.Hosts() {
			if h.Name == r.Addr() {
				return h.Cursor >= r.Log().Tip()
			}
		}
		return false
	}
	crawled := func(r *stage) {
		until(t, "hosts to be read", func() bool {
			at := map[string]uint64{}
			for _, h := range r.Hosts() {
				at[h.Name] = h.Cursor
			}
			for _, h := range s.net.Hosts() {
				if floor, reads := at[h.Name]; reads && floor < h.Seq() {
					return false
				}
			}
			return len(at) == 2
		})
	}
	crawled(s)
	crawled(other)
	until(t, "both relays' events", func() bool { return decided(s) && decided(other) && m.Log().Waiting() == 0 })

	c := netsim.NewComparison(s.net.Ledger())
	logged := m.logged()
	for _, raw := range logged {
		c.Add(raw)
	}
	report := c.Report()
	report.Missing = slices.DeleteFunc(report.Missing, func(e netsim.Entry) bool { return e.Kind == "#sync" }) // said twice by its host
	if err := report.Err(); err != nil {
		t.Error(err)
	}
	var answer struct {
		Events uint64
		Relays []struct {
			Hostname           string
			First, Late, Never uint64
		}
	}
	if code := m.get("/xrpc/network.cistern.compareRelays", &answer); code != http.StatusOK || len(answer.Relays) != 2 {
		t.Fatalf("HTTP %d: %+v", code, answer)
	}
	if answer.Events != uint64(len(logged)) {
		t.Errorf("%d events by the ledger, %d in the log", answer.Events, len(logged))
	}
	for _, r := range answer.Relays {
		if r.First == 0 || r.Never == 0 || r.First+r.Late+r.Never != answer.Events {
			t.Errorf("%+v of %d", r, answer.Events)
		}
	}
}
