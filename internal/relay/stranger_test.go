package relay

import (
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// The commands that docs/archive.md gives to a stranger who has curl, zstd and Python
// are run as they stand there, against a relay.
func TestAStrangersCommandsReadTheArchive(t *testing.T) {
	if os.Getenv("CISTERN_FORMAT_CHECK") == "" {
		t.Skip("make format-check runs this: it installs curl, zstd and cbor2")
	}
	page, err := os.ReadFile("../../docs/archive.md")
	if err != nil {
		t.Fatal(err)
	}
	const first = "curl -s 'https://relay.example/archive/catalog"
	i := strings.Index(string(page), first)
	if i < 0 {
		t.Fatal("the page has no such commands")
	}
	commands, _, ok := strings.Cut(string(page)[i:], "\n```")
	if !ok {
		t.Fatal("the commands have no end")
	}
	s := newStage(t)
	s.start()
	defer s.stop()
	s.steps(300)
	s.caughtUp()
	s.shipped()
	today := time.Now().UTC().Format(time.DateOnly)
	commands = strings.NewReplacer("https://relay.example", "http://"+s.Addr(), "2026-11-27", today).Replace(commands)
	run := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", commands)
	run.Dir = t.TempDir()
	run.Env = append(os.Environ(), "PATH=/usr/bin:"+os.Getenv("PATH")) // Debian's Python has the libraries
	out, err := run.CombinedOutput()
	if err != nil {
		t.Fatalf("%v:\n%s\n%s", err, commands, out)
	}
	stream := s.Log().Stream()
	for _, want := range []string{"'cistern'", stream.ID, "did:plc:"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("%q is not in what they print:\n%s", want, out)
		}
	}
}
