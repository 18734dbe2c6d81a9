package segmentlog

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

var rewrite = flag.Bool("rewrite", false, "write what the tests found into testdata")

// transcript collects what is done to a file system, in order.
type transcript struct {
	mu    sync.Mutex
	cond  sync.Cond
	lines []string
	trap  string // the first line that is this one springs the trap; * at its end is any end
	crash func() // called once, before the operation that it names
}

// add takes a line of vfs.WithLogging. What makes nothing durable is left out.
func (s *transcript) add(format string, args ...any) {
	line := fmt.Sprintf(format, args...)
	switch op, _, _ := strings.Cut(line, ":"); {
	case op == "open", op == "open-dir", op == "close", op == "lock", strings.HasPrefix(op, "read-at"):
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lines = append(s.lines, line)
	if prefix, open := strings.CutSuffix(s.trap, "*"); line == s.trap || open && strings.HasPrefix(line, prefix) {
		s.trap = ""
		s.crash()
	}
	s.cond.Broadcast()
}

// wait returns when so many lines begin with prefix.
func (s *transcript) wait(count int, prefix string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		n := 0
		for _, line := range s.lines {
			if strings.HasPrefix(line, prefix) {
				n++
			}
		}
		if n >= count {
			return
		}
		s.cond.Wait()
	}
}

func (s *transcript) take() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.lines
	s.lines = nil
	return out
}

// writeLogFS adds to vfs.WithLogging what that leaves out: the writes.
type writeLogFS struct {
	vfs.FS
	log *transcript
}

func (w writeLogFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := w.FS.Create(name, c)
	return writeLogFile{f, name, w.log}, err
}

type writeLogFile struct {
	vfs.File
	name string
	log  *transcript
}

// Write logs the length, but not in a segment: it depends on how well a random
// stream id can be compressed.
func (w writeLogFile) Write(b []byte) (int, error) {
	if strings.Contains(w.name, segmentFolder) {
		w.log.add("write: %s", w.name)
	} else {
		w.log.add("write(%d): %s", len(b), w.name)
	}
	return w.File.Write(b)
}

// ioStory runs the commands of a transcript file:
//
//	open [max-hot=BYTES] [seal=N]  starts the log, and waits until N hot files are sealed
//	append N                       appends N events, each a group commit of its own
//	close                          ends it cleanly
//	crash [keep=PERCENT]           cuts the power, so much of what was not synced survives
//	trap PERCENT LINE              has the next crash come before the operation that is
//	                               told in this line (* at its end is any end); 100 % is a kill
//	read                           prints the seqs that a reader sees
type ioStory struct {
	t    *testing.T
	mem  *vfs.MemFS
	log  transcript
	l    *Log
	done *seen
	next int

	trapped *vfs.MemFS // what the trap made
}

func (s *ioStory) run(cmd string) string {
	word, arg, _ := strings.Cut(cmd, " ")
	var n int
	switch word {
	case "open":
		o := testOptions(vfs.WithLogging(writeLogFS{s.mem, &s.log}, s.log.add))
		o.Now = func() time.Time { return time.Unix(1_767_225_600, 0) } // the length of a record must not change
		for field := range strings.FieldsSeq(arg) {
			name, value, _ := strings.Cut(field, "=")
			v, err := strconv.Atoi(value)
			switch {
			case err == nil && name == "max-hot":
				o.MaxHotBytes = int64(v)
			case err == nil && name == "seal":
				n, o.Seal = v, &SegmentOptions{}
			default:
				s.t.Fatalf("%s: %s: %v", cmd, field, err)
			}
		}
		s.done = newSeen()
		o.OnCommit = s.done.commit
		s.l = mustOpen(s.t, o)
		s.log.wait(n, "remove: /data/"+logFolder)
	case "append":
		if _, err := fmt.Sscan(arg, &n); err != nil {
			s.t.Fatalf("%s: %v", cmd, err)
		}
		for range n {
			s.done.wait(mustAppend(s.t, s.l, s.next))
			s.next++
		}
	case "close":
		mustClose(s.t, s.l)
	case "crash":
		if _, err := fmt.Sscanf(arg, "keep=%d", &n); arg != "" && err != nil {
			s.t.Fatalf("%s: %v", cmd, err)
		}
		after := s.trapped
		if s.trapped = nil; after == nil {
			after = s.mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: n, RNG: newRNG(1)})
		}
		mustClose(s.t, s.l)
		s.log.take()
		s.mem = after
		return ""
	case "trap":
		if _, err := fmt.Sscan(arg, &n); err != nil {
			s.t.Fatalf("%s: %v", cmd, err)
		}
		_, s.log.trap, _ = strings.Cut(arg, " ")
		s.log.crash = func() {
			s.trapped = s.mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: n, RNG: newRNG(1)})
		}
		return ""
	case "read":
		var out []string
		for _, r := range readAll(s.t, s.l, 0) {
			out = append(out, fmt.Sprint(r.Seq))
		}
		s.log.take()
		return strings.Join(out, " ") + "\n"
	default:
		s.t.Fatalf("no command %q", cmd)
	}
	var out strings.Builder
	for _, line := range s.log.take() {
		out.WriteString(line + "\n")
	}
	return out.String()
}

// TestEachDurablePathDoesExactlyThis compares what is created, written, synced,
// renamed and removed, in order, with testdata/transcript. A file there is a story
// of commands, each with a line "----" and what happened below it; -rewrite
// writes what happens now.
func TestEachDurablePathDoesExactlyThis(t *testing.T) {
	paths, err := filepath.Glob("testdata/transcript/*.txt")
	if err != nil || len(paths) < 4 {
		t.Fatalf("%d transcripts, %v", len(paths), err)
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txt"), func(t *testing.T) {
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			got := retell(t, string(b))
			if *rewrite {
				if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
			} else if got != string(b) {
				t.Fatalf("%s is not what happens (-rewrite to take it over):\n%s", path, got)
			}
		})
	}
}

// retell runs a story and returns it with what happened.
func retell(t *testing.T, story string) string {
	s := &ioStory{t: t, mem: vfs.NewCrashableMem()}
	s.log.cond.L = &s.log.mu
	var out strings.Builder
	for block := range strings.SplitSeq(strings.TrimSpace(story), "\n\n") {
		var cmd string
		for line := range strings.SplitSeq(block, "\n") {
			if line == "----" {
				break
			}
			out.WriteString(line + "\n")
			if !strings.HasPrefix(line, "#") {
				cmd = line
			}
		}
		out.WriteString("----\n" + s.run(cmd) + "\n")
	}
	return strings.TrimSuffix(out.String(), "\n")
}
