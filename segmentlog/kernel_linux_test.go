package segmentlog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"golang.org/x/sys/unix"
)

// mountTmpfs mounts a file system of size bytes for the test.
func mountTmpfs(t *testing.T, size int) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d", size)); errors.Is(err, unix.EPERM) {
		t.Skip("needs the right to mount a tmpfs: run the tests as root with CAP_SYS_ADMIN")
	} else if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func TestARealDiskThatIsFullAgainAndAgainLosesNothing(t *testing.T) {
	dir := mountTmpfs(t, 2<<20)
	ballast := func(i int) string { return filepath.Join(dir, fmt.Sprint("ballast", i)) }
	const rounds = 4
	for i := range rounds {
		if err := os.WriteFile(ballast(i), make([]byte, 300<<10), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	o := testOptions(vfs.Default)
	o.Dir = filepath.Join(dir, "data")
	o.MaxHotBytes, o.MaxPendingBytes = 150_000, 10_000
	committed, full := newSeen(), make(chan error, 1)
	o.OnCommit = committed.commit
	o.Events.NoSpace = func(err error) { full <- err }
	in := &intake{t: t, log: mustOpen(t, o)}
	t.Cleanup(func() { _ = in.log.Close() }) // before the unmount, also when the test fails
	for round := range rounds {
		for len(full) == 0 {
			in.fill()
		}
		t.Logf("full at seq %d: %v", in.log.Tip(), <-full)
		in.fill()
		if n := len(readAll(t, in.log, 0)); uint64(n) != in.log.Tip() {
			t.Fatalf("%d records, tip %d", n, in.log.Tip())
		}
		if round == rounds-1 {
			break
		}
		if err := os.Remove(ballast(round)); err != nil {
			t.Fatal(err)
		}
		committed.wait(in.last)
		wantEvents(t, in.log, in.next)
	}
	tip := in.log.Tip()
	if err := in.log.Close(); !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	o.Events.NoSpace = nil
	fillDisk(t, filepath.Join(dir, "rest"))
	startOnAFullDisk(t, o, tip)
	for _, path := range []string{ballast(rounds - 1), filepath.Join(dir, "rest")} {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	in.log = mustOpen(t, o)
	n := len(readAll(t, in.log, 0))
	if uint64(n) < tip {
		t.Fatalf("%d records of %d", n, tip)
	}
	wantEvents(t, in.log, n)
	mustClose(t, in.log)
}

// fillDisk writes to path until no byte fits: what a failed write was cut back by is
// free again.
func fillDisk(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for err == nil {
		_, err = f.Write(make([]byte, 4<<10))
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
}

// startOnAFullDisk starts the log where not a byte is free. Records above the last
// trusted mark are copied before they are served: a start that finds no space for
// that refuses. Whether there are such records depends on where in its files the log
// was when the disk became full, and whether they fit on what an empty file that is
// removed gives back.
func startOnAFullDisk(t *testing.T, o Options, tip uint64) {
	t.Helper()
	l, err := Open(o)
	if err != nil {
		if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "free some space") {
			t.Fatalf("a start on the full disk: %v", err)
		}
		t.Log("a start on the full disk refuses")
		return
	}
	if n := len(readAll(t, l, 0)); uint64(n) < tip {
		t.Errorf("a start on the full disk: %d records of %d", n, tip)
	}
	t.Log("a start on the full disk serves")
	if err := l.Close(); err != nil && !errors.Is(err, syscall.ENOSPC) {
		t.Error(err)
	}
}

// helperDir names the data directory for a test binary that is run as a writer.
const helperDir = "CISTERN_TEST_WRITER_DIR"

// TestWriterProcess is no test: it is the process that others run and harm. It
// appends events one at a time, prints what was published, and ends as a relay
// does when the log fails.
func TestWriterProcess(t *testing.T) {
	dir := os.Getenv(helperDir)
	if dir == "" {
		t.Skip("run by other tests alone")
	}
	committed := make(chan uint64, 1)
	o := testOptions(vfs.Default)
	o.Dir = dir
	o.OnCommit = func(b Batch) { committed <- b.Seq(b.Len() - 1) }
	l := mustOpen(t, o)
	for n := range 1000 {
		if _, err := l.Append(context.Background(), testEntry(n)); err != nil {
			break
		}
		select {
		case seq := <-committed:
			fmt.Println("published", seq)
		case <-l.Failed():
		}
	}
	<-l.Failed()
	fmt.Println("failed:", l.Err())
	os.Exit(3)
}

// writerCommand returns a command that runs TestWriterProcess under the given
// command line.
func writerCommand(t *testing.T, dir string, under ...string) *exec.Cmd {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	args := append(under, os.Args[0], "-test.run", "^TestWriterProcess$")
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Env = append(os.Environ(), helperDir+"="+dir)
	return cmd
}

func needStrace(t *testing.T) {
	t.Helper()
	out, err := exec.Command("strace", "-f", "-o", "/dev/null", "-e", "trace=fdatasync", "true").CombinedOutput()
	switch {
	case errors.Is(err, exec.ErrNotFound):
		t.Skip("needs strace: apt-get install strace")
	case err != nil:
		t.Skipf("strace may not trace here: %v: %s", err, out)
	}
}

func TestAnFsyncThatTheKernelFailsEndsTheProcessAndNothingOfItWasSeen(t *testing.T) {
	needStrace(t)
	for _, when := range []int{1, 2, 7} {
		dir := filepath.Join(t.TempDir(), "data")
		trace := filepath.Join(t.TempDir(), "trace")
		cmd := writerCommand(t, dir, "strace", "-f", "-o", trace, "-e", "trace=fdatasync",
			"-e", fmt.Sprintf("inject=fdatasync:error=EIO:when=%d", when))
		out, err := cmd.Output()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != 3 {
			t.Fatalf("when=%d: %v: %s", when, err, out)
		}
		calls, err := os.ReadFile(trace)
		if err != nil {
			t.Fatal(err)
		}
		if n := bytes.Count(calls, []byte("INJECTED")); n != 1 {
			t.Fatalf("when=%d: %d calls failed: %s", when, n, calls)
		}
		if !bytes.Contains(out, []byte("failed: ")) || !bytes.Contains(out, []byte("input/output error")) {
			t.Fatalf("when=%d: no message: %s", when, out)
		}
		// Each event is a commit of its own with one fdatasync; the last one failed.
		published, syncs := bytes.Count(out, []byte("published ")), bytes.Count(calls, []byte("fdatasync("))
		if published != syncs-1 {
			t.Fatalf("when=%d: %d events were published, %d syncs returned well", when, published, syncs-1)
		}
		if lines := strings.Fields(string(bytes.SplitAfter(out, []byte("failed: "))[0])); published > 0 && lines[2*published-1] != fmt.Sprint(published) {
			t.Fatalf("when=%d: published %v", when, lines)
		}
		o := testOptions(vfs.Default)
		o.Dir = dir
		l := mustOpen(t, o)
		n := len(readAll(t, l, 0))
		if n < published {
			t.Fatalf("when=%d: %d records, %d were published", when, n, published)
		}
		wantEvents(t, l, n)
		if seq := mustAppend(t, l, n); seq <= uint64(published)+1 {
			t.Fatalf("when=%d: seq %d was given before", when, seq)
		}
		mustClose(t, l)
	}
}
