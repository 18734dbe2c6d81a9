package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// patience is how long the tests of one mutant may take.
const patience = 2 * time.Minute

// fate is what became of a mutant.
type fate string

const (
	whole  fate = "passes" // no mutant at all
	dead   fate = "killed"
	alive  fate = "SURVIVED"
	broken fate = "BROKEN" // it says nothing about the tests: it does not apply, compile or end
)

type result struct {
	fate   fate
	detail string // which test failed, or what is wrong with the mutant
	output string
}

// baseline runs all tests that guard against the mutants of a package, which must
// pass: a test that is missing or skipped kills nothing.
func (b *bench) baseline(ctx context.Context, pkg string, mutants []*mutant) error {
	var runs []string
	for _, m := range mutants {
		runs = append(runs, m.run)
	}
	bin := filepath.Join(b.dir, "whole.test")
	output, err := b.compile(ctx, pkg, bin, "")
	if err == nil {
		defer os.Remove(bin)
		output, err = b.test(ctx, pkg, bin, strings.Join(runs, "|"))
	}
	if err != nil {
		return fmt.Errorf("%w\n%s", err, output)
	}
	passed := regexp.MustCompile(`(?m)^--- PASS: (\S+)`).FindAllStringSubmatch(output, -1)
	for _, m := range mutants {
		for _, name := range m.tests() {
			re := regexp.MustCompile(name) // parse compiled it already
			found := false
			for _, p := range passed {
				found = found || re.MatchString(p[1])
			}
			if !found {
				return fmt.Errorf("%s wants %s to fail, but no such test ran and passed", m.name, name)
			}
		}
	}
	return nil
}

// mutant applies a mutant and runs its tests.
func (b *bench) mutant(ctx context.Context, m *mutant) result {
	dir := filepath.Join(b.dir, m.name)
	defer os.RemoveAll(dir)
	overlay, output, err := b.apply(ctx, m, dir)
	if err != nil {
		return result{broken, "it does not apply: " + err.Error(), output}
	}
	bin := filepath.Join(dir, "mutant.test")
	if output, err = b.compile(ctx, m.pkg, bin, overlay); err != nil {
		return result{broken, "it does not compile", output}
	}
	output, err = b.test(ctx, m.pkg, bin, m.run)
	return judge(output, err)
}

var (
	failed   = regexp.MustCompile(`--- FAIL: (\S+)`)
	panicked = regexp.MustCompile(`(?m)^(?:panic|fatal error): (.*)$`)
)

// judge says what the outcome of a mutant's tests means.
func judge(output string, err error) result {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return result{alive, "", output}
	case !errors.As(err, &exit) || !exit.Exited() || strings.Contains(output, "panic: test timed out after "):
		return result{broken, "its tests do not end: " + err.Error(), output}
	}
	detail := ""
	for _, f := range failed.FindAllStringSubmatch(output, -1) {
		if len(f[1]) > len(detail) {
			detail = f[1] // the subtest has the longest name
		}
	}
	if p := panicked.FindStringSubmatch(output); p != nil && detail == "" {
		detail = p[1]
	}
	return result{dead, detail, output}
}

// overlay is what the go command takes with -overlay: files that stand in the place
// of others.
type overlay struct{ Replace map[string]string }

// apply makes patched copies of the files that a mutant changes, in dir, and returns
// the name of an overlay file.
func (b *bench) apply(ctx context.Context, m *mutant, dir string) (file, output string, err error) {
	stat, err := b.git(ctx, b.root, "apply", "--numstat", "-z", m.path)
	if err != nil {
		return "", stat, err
	}
	o := overlay{Replace: make(map[string]string)}
	for entry := range strings.SplitSeq(strings.Trim(stat, "\x00"), "\x00") {
		fields := strings.SplitN(entry, "\t", 3) // lines added, lines removed, path
		if len(fields) != 3 {
			return "", stat, errors.New("it changes no file")
		}
		from, to := filepath.Join(b.root, fields[2]), filepath.Join(dir, fields[2])
		o.Replace[from] = to
		if err := copyFile(from, to); err != nil {
			return "", "", err
		}
	}
	if output, err := b.git(ctx, dir, "apply", m.path); err != nil {
		return "", output, err
	}
	j, err := json.Marshal(o)
	if err != nil {
		return "", "", err
	}
	file = filepath.Join(dir, "overlay.json")
	return file, "", os.WriteFile(file, j, 0o600)
}

func copyFile(from, to string) error {
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	return os.WriteFile(to, b, 0o600)
}

// git runs git in a folder; what is in b.dir is no checkout.
func (b *bench) git(ctx context.Context, dir string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "git", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GIT_CEILING_DIRECTORIES="+b.dir)
	output, err := cmd.CombinedOutput()
	return string(output), err
}

// compile makes the test program of a package, with an overlay unless that is "".
// Without vet, since what that finds is no test, and without symbols for a debugger,
// since linking is half of the time.
func (b *bench) compile(ctx context.Context, pkg, bin, overlay string) (output string, err error) {
	cmd := exec.CommandContext(ctx, "go", "test", "-c", "-vet=off", "-ldflags=-s", "-overlay="+overlay, "-o", bin, pkg)
	cmd.Dir = b.root
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// test runs some tests of a test program.
func (b *bench) test(ctx context.Context, pkg, bin, run string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, patience+10*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, bin, "-test.v", "-test.failfast", "-test.timeout", patience.String(), "-test.run", run)
	cmd.Dir = filepath.Join(b.root, pkg)
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	return string(out), err
}
