package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// sample is what one measurement of one relay found.
type sample struct {
	events int           // handled: logged, or sent to all consumers together
	wall   time.Duration //
	cpu    time.Duration // of the relay's process
	peak   int64         // resident bytes
	disk   int64         // bytes of the data directory afterwards; 0 where not measured
	logged int           // events in the log
}

func (s sample) perSecond() float64 { return float64(s.events) / s.wall.Seconds() }

// cpuPerEvent is in µs.
func (s sample) cpuPerEvent() float64 {
	return float64(s.cpu) / float64(time.Microsecond) / float64(s.events)
}

// peakMB is in MB of 10^6 bytes.
func (s sample) peakMB() float64 { return float64(s.peak) / 1e6 }

func (s sample) diskPerEvent() float64 { return float64(s.disk) / float64(s.logged) }

// series is the samples of one piece of work, round by round, for each relay.
type series struct {
	title   string
	samples [][]sample // by subject, then by round
	disk    bool       // disk was measured
}

// session is one run of this program.
type session struct {
	options
	dir      string // working folder, removed at the end
	frames   string
	subjects []subject
	total    int   // events that the file really holds
	bytes    int64 // of the frames
	load     string
}

// measure does a command's whole work.
func measure(ctx context.Context, command string, o options) (err error) {
	s, err := newSession(ctx, command, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(s.dir)) }()
	var all []series
	switch command {
	case "ingest", "mirror":
		all, err = s.ingest(ctx)
	case "replay":
		all, err = s.replay(ctx)
	}
	if err != nil {
		return err
	}
	return s.report(os.Stdout, command, all)
}

// newSession makes what all measurements need: frames, binaries, a folder.
func newSession(ctx context.Context, command string, o options) (s *session, err error) {
	if command == "mirror" {
		o.hosts, o.accounts, o.peer = 1, o.hosts*o.accounts, ""
	}
	s = &session{options: o, load: loadAverage()}
	if s.frames, err = frames(ctx, o); err != nil {
		return nil, err
	}
	if s.dir, err = workDir(o.work); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(s.dir))
		}
	}()
	c, err := buildCistern(ctx, o, s.dir)
	if err != nil {
		return nil, err
	}
	c.flags = cisternFlags(command, o)
	s.subjects = []subject{c}
	if command == "mirror" {
		s.subjects = []subject{&mirror{c, "a relay, --verify=off", []string{"--verify", "off"}}, &mirror{c, "a relay", nil}, c}
	}
	if o.peer == peerReference {
		r, err := installReference(ctx, s.dir)
		if err != nil {
			return nil, err
		}
		s.subjects = append(s.subjects, r)
	}
	return s, nil
}

// workDir makes the working folder of this run.
func workDir(work string) (string, error) {
	if err := os.MkdirAll(work, 0o755); err != nil {
		return "", err
	}
	if err := removeStale(work); err != nil {
		return "", err
	}
	return os.MkdirTemp(work, fmt.Sprintf("run-%d-*", os.Getpid()))
}

// removeStale removes the working folders of runs that were killed.
func removeStale(work string) error {
	dirs, err := filepath.Glob(filepath.Join(work, "run-*-*"))
	if err != nil {
		return err
	}
	for _, dir := range dirs {
		var pid int
		if _, err := fmt.Sscanf(filepath.Base(dir), "run-%d-", &pid); err != nil || alive(pid) {
			continue
		}
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
	}
	return nil
}

// cisternFlags keeps the log in the tier to measure.
func cisternFlags(command string, o options) []string {
	if command == "replay" && o.tier == tierHot {
		return []string{"--segment-size", "1GiB", "--segment-age", "24h", "--ring-bytes", "64MiB"}
	}
	return []string{"--segment-size", o.segment}
}

// watch measures what a running relay uses while f runs.
func watch(r *relay, f func() error) (sample, error) {
	if err := forgetPeak(r.pid()); err != nil {
		return sample{}, err
	}
	before, err := cpuTime(r.pid())
	if err != nil {
		return sample{}, err
	}
	began := time.Now()
	if err := f(); err != nil {
		return sample{}, err
	}
	s := sample{wall: time.Since(began)}
	after, err := cpuTime(r.pid())
	if err != nil {
		return s, fmt.Errorf("%w (%w)", err, r.failure())
	}
	s.cpu = after - before
	s.peak, err = peakMemory(r.pid())
	return s, err
}

// bounded returns a context for one measurement.
func (s *session) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, s.timeout, fmt.Errorf("longer than -timeout %s", s.timeout))
}

// dirSize is the sum of the lengths of a folder's files.
func dirSize(dir string) (n int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		n += info.Size()
		return nil
	})
	return n, err
}
