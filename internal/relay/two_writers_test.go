package relay

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/cistern-archive/cistern/internal/config"
	frames "github.com/cistern-archive/cistern/internal/frame"
	"github.com/cistern-archive/cistern/segmentlog"
	"github.com/cistern-archive/cistern/segmentlog/bucket"
	"github.com/cistern-archive/cistern/segmentlog/bucket/miniotest"
	"github.com/cistern-archive/cistern/segmentlog/ship"
)

// writerConfig names the environment variable by which this program becomes a relay with
// that configuration.
const writerConfig = "CISTERN_TEST_WRITER"

// runWriter is a relay in a process of its own: it says its address, and ends when it may no
// longer write.
func runWriter(text string) error {
	var cfg config.Config
	if err := json.Unmarshal([]byte(text), &cfg); err != nil {
		return err
	}
	r, err := Start(context.Background(), cfg, slog.New(slog.NewTextHandler(os.Stderr, nil)))
	if err != nil {
		return err
	}
	fmt.Println(r.Addr())
	<-r.Failed()
	return r.Stop()
}

// numbers is what each seq was ever seen to name, by whoever read it from wherever.
type numbers struct {
	mu    sync.Mutex
	named map[uint64][sha256.Size]byte
	twice []uint64
}

func (n *numbers) note(seq uint64, frame []byte) {
	sum := sha256.Sum256(frame)
	n.mu.Lock()
	defer n.mu.Unlock()
	if before, ok := n.named[seq]; ok && before != sum {
		n.twice = append(n.twice, seq)
	}
	n.named[seq] = sum
}

// writer is a relay in a process of its own, and a consumer of it.
type writer struct {
	cmd      *exec.Cmd
	said     bytes.Buffer  // of stderr, complete once exit is
	exit     chan struct{} // closed when it has ended
	err      error         // how, then
	consumed sync.WaitGroup
}

func startWriter(t *testing.T, cfg config.Config, n *numbers) *writer {
	t.Helper()
	text, err := json.Marshal(cfg)
	if err != nil {
		t.Fatal(err)
	}
	w := &writer{cmd: exec.Command(os.Args[0]), exit: make(chan struct{})}
	w.cmd.Env = append(os.Environ(), writerConfig+"="+string(text))
	w.cmd.Stderr = &w.said
	w.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := w.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := w.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	if !lines.Scan() {
		t.Fatalf("a writer did not start: %v\n%s", w.cmd.Wait(), w.said.String())
	}
	addr := lines.Text()
	go func() {
		defer close(w.exit)
		w.err = w.cmd.Wait()
	}()
	conn, _, err := websocket.DefaultDialer.DialContext(t.Context(), "ws://"+addr+"/xrpc/com.atproto.sync.subscribeRepos", nil)
	if err != nil {
		t.Fatal(err)
	}
	w.consumed.Go(func() {
		defer conn.Close()
		var ev frames.Event
		for {
			_, frame, err := conn.ReadMessage()
			if err != nil {
				return
			}
			if frames.ParseInto(frame, &ev) == nil {
				n.note(ev.Seq, frame)
			}
		}
	})
	return w
}

func (w *writer) signal(t *testing.T, s syscall.Signal) {
	t.Helper()
	if err := w.cmd.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}

// ends waits until a writer ends by itself. One that does not is made to say where it
// stands.
func (w *writer) ends() error {
	select {
	case <-w.exit:
		return w.err
	case <-time.After(patience):
	}
	if err := w.cmd.Process.Signal(syscall.SIGQUIT); err != nil {
		return err
	}
	<-w.exit
	return fmt.Errorf("it did not end: %w", w.err)
}

// end kills a writer, whether it is paused or not.
func (w *writer) end() {
	_ = w.cmd.Process.Kill() // it may have ended
	<-w.exit
	w.consumed.Wait()
}

// archiveView is the log as a reader of the archive sees it: the bytes of its segments.
type archiveView struct {
	stream segmentlog.Stream
	names  []segmentlog.SegmentName
	sums   [][sha256.Size]byte
}

// archiveEnds says whether the archive has so many epochs and something of the last one.
func archiveEnds(t *testing.T, b bucket.Bucket, epochs int) bool {
	t.Helper()
	stream, err := segmentlog.ParseStream(object(t, b, ship.StreamKey))
	if err != nil {
		t.Fatal(err)
	}
	if len(stream.Epochs) != epochs {
		return false
	}
	inventory, err := ship.ReadInventory(t.Context(), b, &stream)
	if err != nil {
		t.Fatal(err)
	}
	n := len(inventory.Entries)
	return n > 0 && inventory.Entries[n-1].Name.Epoch == stream.Current().Epoch
}

func viewArchive(t *testing.T, b bucket.Bucket, n *numbers) (v archiveView) {
	t.Helper()
	stream, err := segmentlog.ParseStream(object(t, b, ship.StreamKey))
	if err != nil {
		t.Fatal(err)
	}
	v.stream = stream
	inventory, err := ship.ReadInventory(t.Context(), b, &v.stream)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range inventory.Entries {
		content := object(t, b, e.Key())
		v.names, v.sums = append(v.names, e.Name), append(v.sums, sha256.Sum256(content))
		seg, err := segmentlog.OpenSegment(e.Name.String(), bytes.NewReader(content), int64(len(content)))
		if err != nil {
			t.Fatal(err)
		}
		for rec, err := range seg.Records(0) {
			if err != nil {
				t.Fatal(err)
			}
			n.note(rec.Seq, rec.Frame)
		}
	}
	return v
}

// goesOnFrom is an error where what was there before is not the beginning of what is now.
func (v archiveView) goesOnFrom(before archiveView) error {
	for i, name := range before.names {
		if i >= len(v.names) || v.names[i] != name || v.sums[i] != before.sums[i] {
			return fmt.Errorf("segment %d was %s and is another or gone", i, name)
		}
	}
	return nil
}

// Two processes write one bucket in turn. The holder is paused at any moment, the other
// takes the log over, and the first one wakes in the middle of what it was doing.
func TestAWriterThatIsPausedAndWokenAfterATakeOverChangesNothing(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	server := miniotest.Start(t)
	s := newStage(t)
	s.cfg.SegmentBytes = 16 << 10
	s.cfg.Archive.URL, s.cfg.Archive.NewStream, s.cfg.Archive.Watch = server.URL("log"), true, 200*time.Millisecond
	b, err := bucket.Open(t.Context(), server.URL("log"))
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	stop := s.emitSlowly()
	defer stop()
	n := &numbers{named: map[uint64][sha256.Size]byte{}}
	dirs := [2]string{t.TempDir(), t.TempDir()}
	s.cfg.DataDir = dirs[0]
	holder := startWriter(t, s.cfg, n)
	defer func() { holder.end() }()
	s.cfg.Archive.TakeOver = true
	rounds := scaled(t, 2)
	for round := range rounds {
		began := time.Now()
		least := s.net.Len() + 20 + rng.IntN(60)
		until(t, "some events", func() bool { return s.net.Len() >= least })
		holder.signal(t, syscall.SIGSTOP)
		s.cfg.DataDir = dirs[(round+1)%2]
		other := startWriter(t, s.cfg, n)
		until(t, "the other to ship", func() bool { return archiveEnds(t, b, round+2) })
		before := viewArchive(t, b, n)
		holder.signal(t, syscall.SIGCONT)
		if err := holder.ends(); err == nil || !strings.Contains(holder.said.String(), ship.ErrOvertaken.Error()) {
			t.Fatalf("round %d: the first ended with %v and said:\n%s", round, err, holder.said.String())
		}
		holder.consumed.Wait()
		if err := viewArchive(t, b, n).goesOnFrom(before); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		holder = other
		t.Logf("round %d: %s, %d segments, %d events", round+1, time.Since(began).Round(time.Millisecond), len(before.names), s.net.Len())
	}
	stop()
	holder.end()
	s.start() // in this process, to look at the log
	s.caughtUp()
	s.everyEventOnce(map[uint64][]byte{})
	s.stop()
	if len(n.twice) > 0 {
		t.Fatalf("numbers that name two events: %v", n.twice)
	}
	t.Logf("%d rounds, %d numbers", rounds, len(n.named))
}

// emitSlowly makes hosts send 200 events a second until stop is called.
func (s *stage) emitSlowly() (stop func()) {
	ended := make(chan struct{})
	var emitting sync.WaitGroup
	emitting.Go(func() {
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-ended:
				return
			case <-tick.C:
				if err := s.net.Step(); err != nil {
					s.t.Error(err)
					return
				}
			}
		}
	})
	return sync.OnceFunc(func() { close(ended); emitting.Wait() })
}
