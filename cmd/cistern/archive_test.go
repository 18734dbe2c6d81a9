package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cistern-archive/cistern/internal/frame"
	"github.com/cistern-archive/cistern/segmentlog"
)

// smallArchive writes a log of events of our own and seals it.
func smallArchive(t *testing.T, events int) (dir string) {
	t.Helper()
	dir = t.TempDir()
	sealed := make(chan segmentlog.SealInfo, events)
	o := segmentlog.Options{Dir: dir, Logger: slog.New(slog.DiscardHandler), MaxHotBytes: 32 << 10, Seal: &segmentlog.SegmentOptions{BlockSize: 4 << 10}}
	o.Events.Seal = func(i segmentlog.SealInfo) { sealed <- i }
	var last uint64
	for range 2 { // the second opening closes the last hot file
		l, err := segmentlog.Open(o)
		if err != nil {
			t.Fatal(err)
		}
		for i := range events {
			did := fmt.Sprintf("did:plc:%024d", i)
			ev := frame.NewAccount(did, time.Unix(int64(i), 0), i%2 == 0, "")
			if last, err = l.Append(context.Background(), &segmentlog.Entry{DID: did, Verdict: segmentlog.Local, Head: ev.Head, Tail: ev.Tail}); err != nil {
				t.Fatal(err)
			}
		}
		for i := (segmentlog.SealInfo{}); events == 0 && i.Name.LastSeq < last; {
			i = <-sealed
		}
		events = 0
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// run runs the binary and returns what it printed and its exit code.
func run(t *testing.T, path string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	cmd := exec.Command(path, args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// TestArchiveCommandsOfTheBinary runs each command as a shell would.
func TestArchiveCommandsOfTheBinary(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cistern")
	if out, err := exec.Command("go", "build", "-o", path, ".").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	const events = 3000
	dir := smallArchive(t, events)

	ok := func(args ...string) string {
		t.Helper()
		out, errs, code := run(t, path, append([]string{"archive"}, args...)...)
		if code != 0 || errs != "" {
			t.Fatalf("%v: exit %d: %s", args, code, errs)
		}
		return out
	}
	if out := ok("verify", "--signatures", dir); !strings.HasPrefix(out, "ok: ") || !strings.Contains(out, fmt.Sprintf("%d records", events)) {
		t.Error(out)
	}
	if out := ok("ls", dir); !strings.Contains(out, ".0.cbor.zst") {
		t.Error(out)
	}
	if out := ok("inspect", dir); !strings.Contains(out, "#account") || strings.Contains(out, "MISSING") {
		t.Error(out)
	}
	if out := ok("cat", "--seq", "41", dir); strings.Count(out, "\n") != 1 || !strings.Contains(out, `"seq":41,`) {
		t.Error(out)
	}
	proof := filepath.Join(t.TempDir(), "proof.json")
	if err := os.WriteFile(proof, []byte(ok("prove", "41", dir)), 0o600); err != nil {
		t.Fatal(err)
	}
	if out := ok("check-proof", proof); !strings.HasPrefix(out, "ok: seq 41 is leaf 40") {
		t.Error(out)
	}
	if _, errs, code := run(t, path, "archive", "check-proof", "--root", strings.Repeat("0", 64), proof); code != 1 || errs == "" {
		t.Errorf("a proof with another root: exit %d %s", code, errs)
	}

	// A reader that has had enough is no failure, and ends the writing.
	cmd := exec.Command(path, "archive", "cat", dir)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := bufio.NewReader(pipe).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	pipe.Close()
	if err := cmd.Wait(); err != nil || errs.Len() != 0 {
		t.Errorf("cat to a closed pipe: %v %s", err, &errs)
	}

	damage(t, dir)
	out, bad, code := run(t, path, "archive", "verify", dir)
	if code != 1 || !strings.HasPrefix(out, "BAD: ") || !strings.Contains(bad, "first bad place: ") {
		t.Errorf("verify of a damaged archive: exit %d\n%s%s", code, out, bad)
	}
	if out, _, code := run(t, path, "archive", "verify", "--json", dir); code != 1 || !strings.Contains(out, `"problems": [`) {
		t.Errorf("verify --json of a damaged archive: exit %d\n%s", code, out)
	}
}

// damage flips a bit in the middle of the first segment under dir.
func damage(t *testing.T, dir string) {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, "*", "*.cbor.zst"))
	if err != nil || len(found) == 0 {
		found, err = filepath.Glob(filepath.Join(dir, "*.cbor.zst"))
	}
	if err != nil || len(found) == 0 {
		t.Fatal("no segment: ", err)
	}
	b, err := os.ReadFile(found[0])
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 4
	if err := os.WriteFile(found[0], b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestProgressIsALineOrABar(t *testing.T) {
	now := time.Unix(0, 0)
	show := func(terminal bool) string {
		var out bytes.Buffer
		b := &progressBar{w: &out, terminal: terminal, now: func() time.Time { return now }}
		for i := range int64(101) {
			b.set(i*1_000_000, 100_000_000)
			now = now.Add(200 * time.Millisecond)
		}
		b.clear()
		return out.String()
	}
	if out := show(false); strings.Count(out, "\n") != 4 || !strings.Contains(out, "25 %  25.0 MB of 100.0 MB  5.0 MB/s  15s left\n") {
		t.Errorf("lines: %q", out)
	}
	if out := show(true); strings.Contains(out, "\n") || strings.Count(out, "\r") != 101 || !strings.Contains(out, "[#######.......................]  25 %") {
		t.Errorf("bar: %q", out)
	}
	for n, want := range map[int64]string{0: "0 B", 999: "999 B", 1000: "1.0 kB", 999_949: "999.9 kB", 999_950: "1.0 MB", 1_610_612_736: "1.6 GB"} {
		if got := bytesText(n); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
}
