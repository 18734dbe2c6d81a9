package main

import (
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/cistern-archive/cistern/internal/netsim"
)

// The reference library's logger starts a goroutine when it is imported.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/ipfs/go-log/writer.(*MirrorWriter).logRoutine"))
}

// seed returns the test's seed, printed so that a failure can be run again with
// CISTERN_SEED.
func seed(t testing.TB) uint64 {
	s := rand.Uint64()
	if v := os.Getenv("CISTERN_SEED"); v != "" {
		n, err := strconv.ParseUint(v, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		s = n
	}
	t.Logf("CISTERN_SEED=%d", s)
	return s
}

// program is the built binary and the flags it is started with, again and again.
type program struct {
	t       testing.TB
	path    string
	args    []string
	addr    string
	metrics string
	stderr  *os.File

	cmd  *exec.Cmd
	exit chan error
}

func buildProgram(t testing.TB, network *netsim.Network, extra ...string) *program {
	t.Helper()
	dir := t.TempDir()
	p := &program{t: t, path: filepath.Join(dir, "cistern"), addr: freeAddr(t), metrics: freeAddr(t)}
	build := exec.Command("go", "build", "-o", p.path, ".")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	var err error
	if p.stderr, err = os.Create(filepath.Join(dir, "stderr.log")); err != nil {
		t.Fatal(err)
	}
	p.args = append([]string{
		"serve", "--data-dir", filepath.Join(dir, "data"), "--bind", p.addr, "--metrics-listen", p.metrics,
		"--plc-host", network.PLCURL(),
	}, extra...)
	for _, h := range network.HostURLs() {
		p.args = append(p.args, "--host", h)
	}
	t.Cleanup(p.end)
	return p
}

// follower is the same program as a mirror of p.
func (p *program) follower(extra ...string) *program {
	p.t.Helper()
	dir := p.t.TempDir()
	f := &program{t: p.t, path: p.path, addr: freeAddr(p.t), metrics: freeAddr(p.t)}
	var err error
	if f.stderr, err = os.Create(filepath.Join(dir, "stderr.log")); err != nil {
		p.t.Fatal(err)
	}
	plc := p.args[slices.Index(p.args, "--plc-host")+1]
	f.args = append([]string{
		"serve", "--data-dir", filepath.Join(dir, "data"), "--bind", f.addr, "--metrics-listen", f.metrics,
		"--plc-host", plc, "--plc-rate", "0", "--upstream-relay", "http://" + p.addr,
	}, extra...)
	p.t.Cleanup(f.end)
	return f
}

// end kills the program, and shows what it said when the test failed.
func (p *program) end() {
	p.kill()
	if p.t.Failed() {
		p.showLog()
	}
	if err := p.stderr.Close(); err != nil {
		p.t.Error(err)
	}
}

// showLog prints the end of what the program said.
func (p *program) showLog() {
	b, err := os.ReadFile(p.stderr.Name())
	if err != nil {
		p.t.Log(err)
		return
	}
	p.t.Logf("the program's log, its end:\n%s", b[max(0, len(b)-6000):])
}

func freeAddr(t testing.TB) string {
	t.Helper()
	addr, err := netsim.FreeAddr()
	if err != nil {
		t.Fatal(err)
	}
	return addr
}

func (p *program) start() {
	p.t.Helper()
	p.cmd = exec.Command(p.path, p.args...)
	p.cmd.Stderr = p.stderr
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	p.exit = make(chan error, 1)
	go func(cmd *exec.Cmd, exit chan error) { exit <- cmd.Wait() }(p.cmd, p.exit)
}

// kill ends the process as a power cut would, kernel and disk apart.
func (p *program) kill() {
	if p.cmd == nil {
		return
	}
	_ = p.cmd.Process.Kill() // it may have ended
	if err := <-p.exit; err == nil {
		p.t.Log("the relay had ended by itself")
	}
	p.cmd = nil
}

// terminate asks the process to end and wants exit code 0 within 10 s.
func (p *program) terminate() {
	p.t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Fatal(err)
	}
	select {
	case err := <-p.exit:
		if err != nil {
			p.t.Fatalf("SIGTERM: %v", err)
		}
	case <-time.After(10 * time.Second):
		p.t.Fatal("still running 10 s after SIGTERM")
	}
	p.cmd = nil
}

// waitHealthy waits until the program answers.
func (p *program) waitHealthy() {
	p.t.Helper()
	p.until("healthy", func() bool {
		resp, err := http.Get("http://" + p.addr + "/_health")
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		_, err = io.Copy(io.Discard, resp.Body)
		return err == nil && resp.StatusCode == http.StatusOK
	})
}

// until polls a condition outside this process.
func (p *program) until(what string, ok func() bool) {
	p.t.Helper()
	deadline := time.Now().Add(60 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		if time.Now().After(deadline) {
			p.t.Fatalf("not %s within a minute", what)
		}
		<-tick.C
	}
}
