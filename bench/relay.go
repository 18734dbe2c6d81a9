package main

import (
	"bufio"
	"context"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cistern-archive/cistern/internal/netsim"
)

// subject is a relay that can be measured.
type subject interface {
	name() string
	// start starts the relay over a data directory, which may be empty, reading from
	// the upstream; nil is none.
	start(ctx context.Context, dir string, from *upstream) (*relay, error)
}

// startWithin bounds how long a relay may take until it answers.
const startWithin = 2 * time.Minute

// relay is a running relay.
type relay struct {
	*process
	addr    string // of subscribeRepos
	metrics string // base URL
	counter string // the metric that says how far the log is
	base    int    // its value when the log is empty
}

// waitReady waits until the relay answers on both listeners.
func (r *relay) waitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startWithin)
	defer cancel()
	var d net.Dialer
	return r.until(ctx, "not answering", func() (bool, time.Duration) {
		if _, err := r.logged(ctx); err != nil {
			return false, 20 * time.Millisecond
		}
		conn, err := d.DialContext(ctx, "tcp", r.addr)
		if err != nil {
			return false, 20 * time.Millisecond
		}
		return conn.Close() == nil, 20 * time.Millisecond
	})
}

// logged says how many events the relay has logged.
func (r *relay) logged(ctx context.Context) (int, error) {
	v, err := r.metric(ctx, r.counter)
	return max(int(v)-r.base, 0), err
}

// metric asks the relay for one of its metrics, named with its labels.
func (r *relay) metric(ctx context.Context, name string) (value float64, err error) {
	err = r.scrape(ctx, map[string]func(float64){name: func(v float64) { value = v }})
	return value, err
}

// scrape asks the relay for metrics, named with their labels; all must be there.
func (r *relay) scrape(ctx context.Context, want map[string]func(float64)) error {
	found := 0
	err := r.samples(ctx, func(name string, value float64) bool {
		if take := want[name]; take != nil {
			take(value)
			found++
		}
		return found < len(want)
	})
	if err == nil && found < len(want) {
		err = fmt.Errorf("%s/metrics has %d of %v", r.metrics, found, slices.Sorted(maps.Keys(want)))
	}
	return err
}

// samples asks the relay for its metrics and calls each with them, named with their labels,
// until it returns false.
func (r *relay) samples(ctx context.Context, each func(name string, value float64) (more bool)) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.metrics+"/metrics", nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s/metrics: HTTP %s", r.metrics, resp.Status)
	}
	sc := bufio.NewScanner(resp.Body)
	for sc.Scan() {
		line := sc.Text()
		at := strings.LastIndexByte(line, ' ')
		if at < 0 || line[0] == '#' {
			continue
		}
		v, err := strconv.ParseFloat(line[at+1:], 64)
		if err != nil {
			return fmt.Errorf("%s/metrics: %w", r.metrics, err)
		}
		if !each(line[:at], v) {
			return nil
		}
	}
	return sc.Err()
}

// waitLogged waits until the relay has logged want events. Asking costs the relay
// something: it is asked rarely while it is far from the end.
func (r *relay) waitLogged(ctx context.Context, want int) error {
	const soonest, latest, stuck = 10 * time.Millisecond, 500 * time.Millisecond, 30 * time.Second
	began, moved, last := time.Now(), time.Now(), 0
	var failed error
	err := r.until(ctx, fmt.Sprintf("not all of %d events logged", want), func() (bool, time.Duration) {
		n, err := r.logged(ctx)
		switch {
		case err != nil:
			failed = err
			return true, 0
		case n >= want:
			return true, 0
		case n > last:
			last, moved = n, time.Now()
		case time.Since(moved) > stuck:
			failed = fmt.Errorf("%s has logged %d of %d events and nothing more for %s; the end of its log:\n%s", r.name, n, want, stuck, r.tail())
			return true, 0
		}
		if n == 0 {
			return false, 50 * time.Millisecond
		}
		left := time.Duration(float64(time.Since(began)) * float64(want-n) / float64(n))
		return false, min(max(left/2, soonest), latest)
	})
	if err != nil {
		return err
	}
	return failed
}

// settle waits until the relay does next to nothing: what it does in the background
// for the events it has is done.
func (r *relay) settle(ctx context.Context) error {
	const window, idle = 300 * time.Millisecond, 6 * time.Millisecond // 2 % of a core
	used := time.Duration(-1)
	var failed error
	err := r.until(ctx, "not idle", func() (bool, time.Duration) {
		now, err := cpuTime(r.pid())
		if err != nil {
			failed = err
			return true, 0
		}
		settled := used >= 0 && now-used < idle
		used = now
		return settled, window
	})
	if err != nil {
		return err
	}
	return failed
}

// cistern is this repository's relay.
type cistern struct {
	path  string
	flags []string
}

// buildCistern builds the program into dir, unless the options name a binary.
func buildCistern(ctx context.Context, o options, dir string) (*cistern, error) {
	if o.cistern != "" {
		path, err := filepath.Abs(o.cistern)
		return &cistern{path: path}, err
	}
	c := &cistern{path: filepath.Join(dir, "cistern")}
	build := exec.CommandContext(ctx, "go", "build", "-o", c.path, "github.com/cistern-archive/cistern/cmd/cistern")
	build.SysProcAttr = childAttr()
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build cistern: %w\n%s", err, out)
	}
	return c, nil
}

func (c *cistern) name() string { return "Cistern" }

func (c *cistern) start(ctx context.Context, dir string, from *upstream) (*relay, error) {
	var flags []string
	if from != nil {
		flags = append(flags, "--plc-host", from.PLC, "--plc-rate", "0")
		for _, h := range from.Hosts {
			flags = append(flags, "--host", "http://"+h)
		}
	}
	return c.launchCounted(ctx, dir, "cistern_log_tip_seq", flags...)
}

// launchCounted starts the program over a data directory; counter says how far its log is.
func (c *cistern) launchCounted(ctx context.Context, dir, counter string, flags ...string) (*relay, error) {
	r, err := newRelay(counter, 0)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	args := []string{
		"serve", "--log-level", "warn", "--data-dir", filepath.Join(dir, "data"),
		"--bind", r.addr, "--metrics-listen", r.metricsAddr(),
	}
	args = slices.Concat(args, c.flags, flags)
	return r.launch(ctx, "cistern", dir, c.path, args...)
}

// newRelay chooses the addresses of a relay that is about to start.
func newRelay(counter string, base int) (*relay, error) {
	addr, err := netsim.FreeAddr()
	if err != nil {
		return nil, err
	}
	metrics, err := netsim.FreeAddr()
	if err != nil {
		return nil, err
	}
	return &relay{addr: addr, metrics: "http://" + metrics, counter: counter, base: base}, nil
}

func (r *relay) metricsAddr() string { return r.metrics[len("http://"):] }

// launch starts the process and waits until it answers.
func (r *relay) launch(ctx context.Context, name, dir, path string, args ...string) (*relay, error) {
	if err := r.startAs(command{name: name, dir: dir, path: path, args: args}); err != nil {
		return nil, err
	}
	if err := r.waitReady(ctx); err != nil {
		r.kill()
		return nil, err
	}
	return r, nil
}

func (r *relay) startAs(c command) (err error) {
	r.process, err = startProcess(c)
	return err
}
