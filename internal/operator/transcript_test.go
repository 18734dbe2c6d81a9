package operator

import (
	"fmt"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// loggedFS adds to vfs.WithLogging what that leaves out: writes of new files.
type loggedFS struct {
	vfs.FS
	add func(format string, args ...any)
}

func (l loggedFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := l.FS.Create(name, c)
	return loggedFile{f, name, l.add}, err
}

type loggedFile struct {
	vfs.File
	name string
	add  func(format string, args ...any)
}

func (l loggedFile) Write(b []byte) (int, error) {
	l.add("write(%d): %s", len(b), l.name)
	return l.File.Write(b)
}

func TestADecisionIsOneWriteAndOneSync(t *testing.T) {
	mem := newFS(t)
	var lines []string
	add := func(format string, args ...any) {
		line := fmt.Sprintf(format, args...)
		if op, _, _ := strings.Cut(line, ":"); op != "open" && op != "open-dir" && op != "close" {
			lines = append(lines, strings.ReplaceAll(line, dir+"/", ""))
		}
	}
	fs := vfs.WithLogging(loggedFS{mem, add}, add)
	happened := func(what, want string) {
		t.Helper()
		if got := strings.Join(lines, "\n"); got != strings.TrimSpace(want) {
			t.Errorf("%s:\n%s\nwant:\n%s", what, got, strings.TrimSpace(want))
		}
		lines = nil
	}
	j := mustOpen(t, options(fs))
	happened("a new journal", "")
	mustDecide(t, j, Decision{Action: BlockHost, Subject: "a.example"})
	happened("the first decision: the file and its name first", `
create: operator.jsonl.tmp
write(0): operator.jsonl.tmp
sync: operator.jsonl.tmp
rename: operator.jsonl.tmp -> operator.jsonl
sync: data
open-read-write: operator.jsonl
write-at(0, 76): operator.jsonl
sync: operator.jsonl`)
	mustDecide(t, j, Decision{Action: BlockHost, Subject: "b.example"})
	happened("another", `
write-at(76, 76): operator.jsonl
sync: operator.jsonl`)
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	happened("a clean stop", "")
	j = mustOpen(t, options(fs))
	happened("a start: what is believed is written anew", `
create: operator.jsonl.tmp
write(152): operator.jsonl.tmp
sync: operator.jsonl.tmp
rename: operator.jsonl.tmp -> operator.jsonl
sync: data
open-read-write: operator.jsonl`)
	mustDecide(t, j, Decision{Action: UnblockHost, Subject: "b.example"})
	happened("a decision after it", `
write-at(152, 78): operator.jsonl
sync: operator.jsonl`)
}
