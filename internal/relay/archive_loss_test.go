package relay

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	frames "github.com/cistern-archive/cistern/internal/frame"
	"github.com/cistern-archive/cistern/internal/netsim"
	"github.com/cistern-archive/cistern/segmentlog"
	"github.com/cistern-archive/cistern/segmentlog/bucket/miniotest"
)

// The directory is lost five times, while events flow and segments are sealed and shipped,
// under a relay that runs or that was stopped.
func TestADataDirectoryThatIsLostAtAnyMomentIsRestoredFromTheArchive(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	server := miniotest.Start(t)
	s := newStage(t)
	s.cfg.SegmentBytes = 16 << 10
	s.cfg.Archive.URL, s.cfg.Archive.NewStream, s.cfg.Archive.Watch = server.URL("log"), true, time.Millisecond
	seen := map[uint64][]byte{} // what a consumer was ever shown
	losses, running := 0, 0
	for round := range 6 {
		began := time.Now()
		s.start()
		until(t, "hosts to be read", func() bool { return s.intake.manager() != nil })
		t.Logf("round %d: %d segments, reading hosts after %s", round, len(s.archive.held.Inventory().Entries), time.Since(began).Round(time.Millisecond))
		stream := s.Log().Stream()
		if lost, kept := lastSeen(seen), stream.Current().PrevLastSeq; lost > kept {
			losses++
			s.toldOfTheLoss(lost)
			s.notToldOfAnything(s.someSeq(rng, kept))
		}
		s.whileEventsFlow(seen, func() {
			least := s.net.Len() + scaled(t, 40) + rng.IntN(scaled(t, 300))
			until(t, "some events", func() bool { return s.net.Len() >= least })
			if round == 5 {
				return
			}
			if rng.IntN(2) == 0 {
				running++
				loseDirectory(t, s.cfg.DataDir)
			}
			_ = s.Stop() // it may say that its files are gone
		})
		if round < 5 {
			loseDirectory(t, s.cfg.DataDir)
		}
		s.cfg.Archive.TakeOver = true
	}
	s.caughtUp()
	s.everyEventOnce(seen)
	s.stop()
	if losses == 0 {
		t.Error("nothing that was seen was ever lost")
	}
	t.Logf("%d of 5 losses took what had been seen, %d were under a running relay", losses, running)
}

// loseDirectory removes a directory while somebody may write into it.
func loseDirectory(t *testing.T, dir string) {
	t.Helper()
	until(t, "the directory to be gone", func() bool { return os.RemoveAll(dir) == nil })
}

// lastSeen is the highest seq that anybody was shown, 0 for none.
func lastSeen(seen map[uint64][]byte) (last uint64) {
	for seq := range seen {
		last = max(last, seq)
	}
	return last
}

// whileEventsFlow runs f while hosts send events and a consumer notes what it is shown.
func (s *stage) whileEventsFlow(seen map[uint64][]byte, f func()) {
	s.t.Helper()
	c := dialAt(s.t, s, s.Log().Tip())
	shown := make(chan map[uint64][]byte)
	go func() {
		got := map[uint64][]byte{}
		for {
			_, frame, err := c.ReadMessage()
			if err != nil {
				shown <- got
				return
			}
			var ev frames.Event
			if frames.ParseInto(frame, &ev) == nil { // else it is an #info
				got[ev.Seq] = frame
			}
		}
	}()
	stop := make(chan struct{})
	var emitting sync.WaitGroup
	emitting.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			if err := s.net.Step(); err != nil {
				s.t.Error(err)
				return
			}
		}
	})
	f()
	close(stop)
	emitting.Wait()
	_ = c.Close() // the relay may have closed it
	for seq, frame := range <-shown {
		if before, ok := seen[seq]; ok && !bytes.Equal(before, frame) {
			s.t.Errorf("seq %d names two events", seq)
		}
		seen[seq] = frame
	}
}

// someSeq returns the seq of any event up to last, 0 where there is none.
func (s *stage) someSeq(rng *rand.Rand, last uint64) (seq uint64) {
	s.t.Helper()
	r := s.Log().NewReader(0)
	defer r.Close()
	var rec segmentlog.Record
	for n := 1; ; n++ {
		if err := r.Next(&rec); err != nil || rec.Seq > last {
			return seq
		}
		if rng.IntN(n) == 0 {
			seq = rec.Seq
		}
	}
}

// notToldOfAnything connects with a cursor from before the loss: the next event comes.
func (s *stage) notToldOfAnything(cursor uint64) {
	s.t.Helper()
	c := dialAt(s.t, s, cursor)
	defer c.Close()
	_, first, err := c.ReadMessage()
	if err != nil {
		s.t.Fatal(err)
	}
	r := s.Log().NewReader(cursor)
	defer r.Close()
	for {
		var rec segmentlog.Record
		if err := r.Next(&rec); err != nil {
			s.t.Fatal(err)
		}
		if bytes.Equal(first, rec.Frame) {
			return
		}
		if !s.consumers.suppressed.Has(string(rec.DID)) {
			s.t.Fatalf("cursor %d: the first message is not seq %d", cursor, rec.Seq)
		}
	}
}

// everyEventOnce reads the relay from the first event until everything is there that the
// network sent, compares that with the network's ledger and with what was shown before,
// and remembers it.
func (s *stage) everyEventOnce(seen map[uint64][]byte) {
	s.t.Helper()
	c := netsim.NewComparison(s.net.Ledger())
	r := s.Log().NewReader(0)
	defer r.Close()
	var rec segmentlog.Record
	until(s.t, "every event to be in the log", func() bool {
		for {
			err := r.Next(&rec)
			if errors.Is(err, io.EOF) {
				return len(c.Report().Missing) == 0
			}
			if err != nil {
				s.t.Fatal(err)
			}
			if before, ok := seen[rec.Seq]; ok && !bytes.Equal(before, rec.Frame) {
				s.t.Fatalf("seq %d names two events", rec.Seq)
			}
			seen[rec.Seq] = bytes.Clone(rec.Frame)
			c.Add(rec.Frame)
		}
	})
	report := c.Report()
	if err := report.Err(); err != nil {
		s.t.Errorf("the log is not what the network sent: %v", err)
	}
}

// toldOfTheLoss connects with a cursor that an earlier run showed and lost.
func (s *stage) toldOfTheLoss(cursor uint64) {
	s.t.Helper()
	c := dialAt(s.t, s, cursor)
	defer c.Close()
	_, first, err := c.ReadMessage()
	if err != nil {
		s.t.Fatal(err)
	}
	if !strings.Contains(string(first), "OutdatedCursor") {
		s.t.Errorf("cursor %d: the first message is %q", cursor, first)
	}
	epoch := s.Log().Stream()
	after := epoch.Current().PrevLastSeq
	r := s.Log().NewReader(after)
	defer r.Close()
	var rec segmentlog.Record
	for tip := s.Log().Tip(); r.Position() < tip; {
		if err := r.Next(&rec); err != nil {
			s.t.Fatal(err)
		}
		_, got, err := c.ReadMessage()
		if err != nil {
			s.t.Fatal(err)
		}
		if !bytes.Equal(got, rec.Frame) {
			s.t.Fatalf("cursor %d: seq %d does not come next", cursor, rec.Seq)
		}
	}
}
