package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("mutants", flag.ContinueOnError)
	verbose := flags.Bool("v", false, "show what the tests say")
	jobs := flags.Int("jobs", runtime.GOMAXPROCS(0), "mutants at once")
	list := flags.Bool("list", false, "list the mutants and run nothing")
	if err := flags.Parse(args); err != nil {
		return err
	}
	root, err := checkout(ctx)
	if err != nil {
		return err
	}
	mutants, err := load(root)
	if err != nil {
		return err
	}
	mutants = slices.DeleteFunc(mutants, func(m *mutant) bool { return !m.matches(flags.Args()) })
	if len(mutants) == 0 {
		return errors.New("no mutant has these words in its name or package")
	}
	if *list {
		for _, m := range mutants {
			fmt.Fprintf(out, "%-50s %-22s %s\n", m.name, m.pkg, m.breaks)
		}
		return nil
	}
	dir, err := os.MkdirTemp("", "mutants")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	b := &bench{root: root, dir: dir, out: out, jobs: max(*jobs, 1), verbose: *verbose}
	return b.all(ctx, mutants)
}

// checkout returns the folder of the checkout that the program is run in.
func checkout(ctx context.Context) (string, error) {
	b, err := exec.CommandContext(ctx, "git", "rev-parse", "--show-toplevel").Output()
	if err != nil {
		return "", fmt.Errorf("not in a checkout: %w", err)
	}
	return string(bytes.TrimSpace(b)), nil
}

// bench runs mutants.
type bench struct {
	root, dir string
	jobs      int
	verbose   bool

	mu  sync.Mutex
	out io.Writer
}

// all runs the tests of each package unchanged, then with each of its mutants.
func (b *bench) all(ctx context.Context, mutants []*mutant) error {
	began := time.Now()
	fates := make([]fate, len(mutants))
	for _, pkg := range packages(mutants) {
		own := func(m *mutant) bool { return m.pkg == pkg }
		t := time.Now()
		if err := b.baseline(ctx, pkg, slices.DeleteFunc(slices.Clone(mutants), func(m *mutant) bool { return !own(m) })); err != nil {
			return fmt.Errorf("%s without a mutant: %w", pkg, err)
		}
		b.say(pkg, t, result{fate: whole})
		var group errgroup.Group
		group.SetLimit(b.jobs)
		for i, m := range mutants {
			if !own(m) {
				continue
			}
			group.Go(func() error {
				t := time.Now()
				r := b.mutant(ctx, m)
				if ctx.Err() == nil {
					fates[i] = r.fate
					b.say(m.name, t, r)
				}
				return ctx.Err()
			})
		}
		if err := group.Wait(); err != nil {
			return err
		}
	}
	var bad []string
	for i, m := range mutants {
		if fates[i] != dead {
			bad = append(bad, m.name)
		}
	}
	fmt.Fprintf(b.out, "%d of %d mutants killed in %s\n", len(mutants)-len(bad), len(mutants), time.Since(began).Round(time.Second))
	if len(bad) > 0 {
		return fmt.Errorf("not killed: %s", strings.Join(bad, ", "))
	}
	return nil
}

// say prints a line about a mutant, or about a package without one.
func (b *bench) say(name string, began time.Time, r result) {
	b.mu.Lock()
	defer b.mu.Unlock()
	fmt.Fprintf(b.out, "%-8s %-50s %5.1f s  %s\n", r.fate, name, time.Since(began).Seconds(), r.detail)
	if output := strings.TrimSpace(r.output); output != "" && (b.verbose || r.fate == broken) {
		fmt.Fprintln(b.out, output)
	}
}

// packages returns the packages of mutants in the order in which they first come.
func packages(mutants []*mutant) []string {
	var pkgs []string
	for _, m := range mutants {
		if !slices.Contains(pkgs, m.pkg) {
			pkgs = append(pkgs, m.pkg)
		}
	}
	return pkgs
}
