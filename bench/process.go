package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// stopGrace is how long a child may take to end after SIGTERM.
const stopGrace = 20 * time.Second

// process is a child. What it writes to standard error, and to standard output
// unless that is read, goes to a file.
type process struct {
	name  string
	cmd   *exec.Cmd
	log   string
	ended chan struct{} // closed when it has ended
}

// command is a program to start as a child.
type command struct {
	name, dir, path string // dir is its working folder
	args, env       []string
	stdin           io.Reader
	stdout          io.Writer // nil: the log
}

// startProcess starts a child. It has none of this process's configuration but what
// the command gives it, so that a variable of the user's does not change what is
// measured.
func startProcess(c command) (*process, error) {
	f, err := os.Create(filepath.Join(c.dir, c.name+".log"))
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", c.name, err)
	}
	defer f.Close()
	p := &process{name: c.name, log: f.Name(), ended: make(chan struct{})}
	p.cmd = exec.Command(c.path, c.args...) //nolint:noctx // stop ends it, after SIGTERM
	p.cmd.Dir, p.cmd.Env = c.dir, append(plainEnv(os.Environ()), c.env...)
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = c.stdin, c.stdout, f
	if c.stdout == nil {
		p.cmd.Stdout = f
	}
	p.cmd.SysProcAttr = childAttr()
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", c.name, err)
	}
	go func() {
		_ = p.cmd.Wait() // its state says the same
		close(p.ended)
	}()
	return p, nil
}

// plainEnv keeps what any program needs and what steers Go's runtime.
func plainEnv(env []string) []string {
	keep := []string{"PATH", "HOME", "TMPDIR", "LANG", "TZ", "GOMAXPROCS", "GOGC", "GOMEMLIMIT", "GODEBUG"}
	return slices.DeleteFunc(slices.Clone(env), func(kv string) bool {
		name, _, _ := strings.Cut(kv, "=")
		return !slices.Contains(keep, name)
	})
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// stop asks the child to end, and kills it when it does not.
func (p *process) stop() error {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); errors.Is(err, os.ErrProcessDone) {
		<-p.ended
		return p.failure()
	}
	timer := time.NewTimer(stopGrace)
	defer timer.Stop()
	select {
	case <-p.ended:
		return nil
	case <-timer.C:
	}
	p.kill()
	return fmt.Errorf("%s did not end within %s of SIGTERM and was killed", p.name, stopGrace)
}

// kill ends the child at once and waits for it.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it may have ended
	<-p.ended
}

// failure says that the child ended by itself, and what it said last.
func (p *process) failure() error {
	return fmt.Errorf("%s ended by itself (%v); the end of its log:\n%s", p.name, p.cmd.ProcessState, p.tail())
}

// tail returns the end of the child's log.
func (p *process) tail() string {
	b, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return string(b[max(0, len(b)-2000):])
}

// until polls a condition at an interval that f may change, until it holds.
func (p *process) until(ctx context.Context, what string, f func() (ok bool, again time.Duration)) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-p.ended:
			return p.failure()
		case <-ctx.Done():
			return fmt.Errorf("%s: %s: %w; the end of its log:\n%s", p.name, what, context.Cause(ctx), p.tail())
		}
		ok, again := f()
		if ok {
			return nil
		}
		timer.Reset(again)
	}
}

// wait lets the child work for a while.
func (p *process) wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-p.ended:
		return p.failure()
	case <-ctx.Done():
		return fmt.Errorf("%s: %w", p.name, context.Cause(ctx))
	}
}
