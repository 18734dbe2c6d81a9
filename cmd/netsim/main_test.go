package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cistern-archive/cistern/internal/netsim"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	// A logging library of indigo's block store keeps a goroutine from its init.
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/ipfs/go-log/writer.(*MirrorWriter).logRoutine"))
}

// run runs the command and returns what it printed.
func run(ctx context.Context, t *testing.T, args ...string) string {
	t.Helper()
	var out bytes.Buffer
	c := command()
	c.Writer = &out
	if err := c.Run(ctx, append([]string{"netsim"}, args...)); err != nil {
		t.Fatalf("netsim %v: %v", args, err)
	}
	return out.String()
}

func TestServeWritesTheLedgerWhenInterrupted(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger.jsonl")
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	out := run(ctx, t, "serve", "--hosts", "2", "--accounts", "3", "--records", "10", "--rate", "200", "--ledger", path,
		"--control", "127.0.0.1:0")
	if strings.Count(out, "--host http://127.0.0.1:") != 2 || !strings.Contains(out, "--plc-host http://") {
		t.Errorf("printed %q", out)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if entries, err := netsim.ReadLedger(f); err != nil || len(entries) == 0 {
		t.Errorf("%d entries, %v", len(entries), err)
	}
}

func TestGeneratedFileIsServed(t *testing.T) {
	dir := t.TempDir()
	frames, ledger := filepath.Join(dir, "frames"), filepath.Join(dir, "ledger")
	out := run(t.Context(), t, "generate", "--hosts", "2", "--accounts", "2", "--records", "10", "--events", "50", "--out", frames)
	if !strings.Contains(out, "50 events") {
		t.Errorf("printed %q", out)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	run(ctx, t, "serve", "--from", frames, "--rate", "0", "--ledger", ledger)
	b, err := os.ReadFile(ledger)
	if err != nil || bytes.Count(b, []byte("\n")) != 50 {
		t.Errorf("ledger of %d lines, %v", bytes.Count(b, []byte("\n")), err)
	}
}

func TestTablesAreListed(t *testing.T) {
	if out := run(t.Context(), t, "lies"); strings.Count(out, "\n") != len(netsim.Lies()) {
		t.Errorf("lies: %q", out)
	}
	if out := run(t.Context(), t, "dialects"); strings.Count(out, "\n") != len(netsim.Dialects()) {
		t.Errorf("dialects: %q", out)
	}
}
