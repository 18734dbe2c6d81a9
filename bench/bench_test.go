package main

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// The network is this program started again: under test, this test binary. The
// reference library's logger starts a goroutine when it is imported.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && slices.Contains([]string{"upstream", "crowd", "rogues", "idle"}, os.Args[1]) {
		main()
		return
	}
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/ipfs/go-log/writer.(*MirrorWriter).logRoutine"),
		goleak.Cleanup(func(code int) {
			_ = os.RemoveAll(builtDir) // "" removes nothing
			os.Exit(code)
		}))
}

// builtDir is where built puts the program.
var builtDir string

// built builds Cistern, once, with the user's own build cache.
var built = sync.OnceValues(func() (c *cistern, err error) {
	if builtDir, err = os.MkdirTemp("", "bench-test-*"); err != nil {
		return nil, err
	}
	return buildCistern(context.Background(), options{}, builtDir)
})

// tiny is a measurement that takes a moment, with a cache and a working folder of
// its own.
func tiny(t *testing.T) options {
	c, err := built()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	o := defaults()
	o.cistern, o.events, o.rounds, o.peer, o.consumers, o.hosts, o.accounts, o.records = c.path, 300, 2, "", 3, 2, 4, 20
	o.tier, o.markdown, o.timeout = tierSealed, true, 2*time.Minute
	return o
}

func TestEachMeasurementRunsOverARealRelay(t *testing.T) {
	for command, titles := range map[string][]string{
		"ingest": {"ingest"}, "replay": {"replay, 1 consumer", "replay, 3 consumers"},
	} {
		o := tiny(t)
		s, err := newSession(t.Context(), command, o)
		if err != nil {
			t.Fatal(err)
		}
		work := map[string]func(context.Context) ([]series, error){"ingest": s.ingest, "replay": s.replay}
		all, err := work[command](t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if len(all) != len(titles) {
			t.Fatalf("%s: %d series, want %v", command, len(all), titles)
		}
		for i, one := range all {
			if one.title != titles[i] || len(one.samples[0]) != o.rounds {
				t.Errorf("%s: series %q of %d rounds", command, one.title, len(one.samples[0]))
			}
			for _, got := range one.samples[0] {
				if got.logged != s.total || got.events%got.logged != 0 || got.wall <= 0 || got.cpu <= 0 || got.peak <= 0 {
					t.Errorf("%s: %+v", one.title, got)
				}
			}
		}
		var out strings.Builder
		if err := s.report(&out, command, all); err != nil {
			t.Fatal(err)
		}
		if !regexp.MustCompile(`(?m)^\| CPU µs an event \| [0-9,.]+ \([0-9,.]+–[0-9,.]+\) \|$`).MatchString(out.String()) {
			t.Errorf("no CPU in the section:\n%s", out.String())
		}
	}
}

func TestAHotReplayThatComesFromMemoryIsRefused(t *testing.T) {
	o := tiny(t)
	o.tier = tierHot // and 300 events are all in memory
	err := measure(t.Context(), "replay", o)
	if err == nil || !strings.Contains(err.Error(), "events came from memory") {
		t.Fatalf("error %v", err)
	}
	nothingLeft(t, o)
}

func TestARelayThatCannotStartEndsTheMeasurementWithItsWords(t *testing.T) {
	o := tiny(t)
	o.cistern = filepath.Join(t.TempDir(), "cistern")
	if err := os.WriteFile(o.cistern, []byte("#!/bin/sh\necho no such disk >&2\nexit 3\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	err := measure(t.Context(), "ingest", o)
	if err == nil || !strings.Contains(err.Error(), "no such disk") {
		t.Fatalf("error %v", err)
	}
	nothingLeft(t, o)
}

// nothingLeft wants an empty working folder.
func nothingLeft(t *testing.T, o options) {
	t.Helper()
	left, err := filepath.Glob(filepath.Join(o.work, "*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestAWorkingFolderOfAKilledRunIsRemoved(t *testing.T) {
	work := t.TempDir()
	for _, name := range []string{"run-4194305-x", "run-1-x", "other"} { // above the highest pid_max; init
		if err := os.Mkdir(filepath.Join(work, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := removeStale(work); err != nil {
		t.Fatal(err)
	}
	left, err := filepath.Glob(filepath.Join(work, "*"))
	for i := range left {
		left[i] = filepath.Base(left[i])
	}
	if err != nil || !slices.Equal(left, []string{"other", "run-1-x"}) {
		t.Errorf("left %v, err %v", left, err)
	}
}

func TestTheCPUClockOfAProcessRuns(t *testing.T) {
	before, err := cpuTime(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	for time.Since(began) < 50*time.Millisecond { // work, not waiting
	}
	after, err := cpuTime(os.Getpid())
	if used := after - before; err != nil || used <= 0 || used > 10*time.Second {
		t.Fatalf("50 ms of work took %s of CPU, err %v", used, err)
	}
	if _, err := cpuTime(1 << 22); err == nil {
		t.Error("a process that does not exist has a CPU clock")
	}
}

func TestAChildHasNothingOfTheUsersConfiguration(t *testing.T) {
	got := plainEnv([]string{"PATH=/bin", "CISTERN_BIND=:1", "RELAY_API_BIND=:2", "LOG_LEVEL=debug", "GOGC=50"})
	if want := []string{"PATH=/bin", "GOGC=50"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// fakeRelay answers one consumer with what it is given.
func fakeRelay(t *testing.T, answer []byte) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		if _, err := conn.Read(make([]byte, 4096)); err == nil {
			_, _ = conn.Write(answer) // the consumer may have gone
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return l.Addr().String()
}

func TestAConsumerSaysWhatItDidNotGet(t *testing.T) {
	const switching = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"
	three := string(slices.Repeat(wire(0x82, 200), 3))
	for name, c := range map[string]struct {
		answer string
		want   int
		err    string // "" for none
	}{
		"all there":      {switching + three, 3, ""},
		"one missing":    {switching + three, 4, "3 of 4 events"},
		"one too many":   {switching + three, 2, "3 events where the log has 2"},
		"closed":         {switching + three + string(wire(0x88, 2)), 4, "closed the connection after 3 events"},
		"refused":        {"HTTP/1.1 503 Service Unavailable\r\n\r\n", 1, "503"},
		"no answer":      {"", 1, "handshake"},
		"endless answer": {"HTTP/1.1 101 " + strings.Repeat("x", 3*maxAnswer), 1, "no end"},
	} {
		t.Run(name, func(t *testing.T) {
			err := consume(t.Context(), fakeRelay(t, []byte(c.answer)), c.want, c.want)
			switch {
			case c.err == "" && err != nil:
				t.Error(err)
			case c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)):
				t.Errorf("error %v, want %q", err, c.err)
			}
		})
	}
}
