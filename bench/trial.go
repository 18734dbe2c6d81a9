package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// crowd is the process that plays thousands of hosts.
type crowd struct {
	*talker
	crowdAnnouncement
}

func startCrowd(ctx context.Context, dir string, spec crowdSpec) (*crowd, error) {
	arg, err := json.Marshal(spec)
	if err != nil {
		return nil, err
	}
	t, err := startTalker("crowd", dir, "crowd", string(arg))
	if err != nil {
		return nil, err
	}
	c := &crowd{talker: t}
	if err := c.answer(ctx, "listening", &c.crowdAnnouncement); err != nil {
		c.end()
		return nil, err
	}
	return c, nil
}

// ask sends a command and reads its answer.
func (c *crowd) ask(ctx context.Context, v any, line string) error {
	if err := c.tell("%s", line); err != nil {
		return err
	}
	return c.answer(ctx, "answering "+line, v)
}

func (c *crowd) count(ctx context.Context) (n crowdCount, err error) {
	if err = c.ask(ctx, &n, lineCount); err == nil && n.Err != "" {
		err = fmt.Errorf("crowd: %s", n.Err)
	}
	return n, err
}

// trial is a relay in front of a crowd, and those who watch it.
type trial struct {
	spec    crowdSpec
	crowd   *crowd
	relay   *relay
	health  *prober  // of the relay
	idle    *prober  // of a server that does nothing, for comparison
	watcher *watcher // of the relay's process
	idler   *talker
	began   time.Time // the start of the relay's process

	connected time.Duration // until every host had a subscriber
}

// startTrial starts everything. Hosts have events to send and make more before the
// relay comes, which starts with all hosts on its command line. meanwhile runs while
// they are being connected.
func startTrial(ctx context.Context, c *cistern, dir string, spec crowdSpec, meanwhile func(context.Context, *relay) error) (_ *trial, err error) {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return nil, err
	}
	started := &trial{spec: spec}
	defer func() {
		if err != nil {
			started.end()
		}
	}()
	if started.idler, err = startTalker("idle", dir, "idle"); err != nil {
		return nil, err
	}
	idleAddr, err := started.idler.line(ctx, "listening")
	if err != nil {
		return nil, err
	}
	if started.crowd, err = startCrowd(ctx, dir, spec); err != nil {
		return nil, err
	}
	if err := started.crowd.tell(lineEmit); err != nil {
		return nil, err
	}
	if started.relay, err = newRelay("cistern_log_tip_seq", 0); err != nil {
		return nil, err
	}
	cmd, err := c.command(dir, started.relay, started.crowd)
	if err != nil {
		return nil, err
	}
	started.began = time.Now()
	if err := started.relay.startAs(cmd); err != nil {
		return nil, err
	}
	started.health = startProber("http://"+started.relay.addr+"/_health", started.began)
	started.idle = startProber("http://"+idleAddr, started.began)
	started.watcher = startWatcher(started.relay, started.began)
	met := make(chan error, 1)
	go func() { met <- meanwhile(ctx, started.relay) }()
	return started, errors.Join(started.connect(ctx), <-met)
}

// command is how Cistern is started in front of a crowd.
func (c *cistern) command(dir string, r *relay, from *crowd) (command, error) {
	cmd := command{name: "cistern", dir: dir, path: c.path, args: append([]string{
		"serve", "--log-level", "warn", "--data-dir", filepath.Join(dir, "data"),
		"--bind", r.addr, "--metrics-listen", r.metricsAddr(), "--plc-host", from.PLC, "--plc-rate", "0",
	}, c.flags...)}
	for _, h := range from.Hosts {
		cmd.args = append(cmd.args, "--host", h)
	}
	if from.CA == "" {
		return cmd, nil
	}
	ca := filepath.Join(dir, "ca.pem")
	cmd.env = []string{"SSL_CERT_FILE=" + ca}
	return cmd, os.WriteFile(ca, []byte(from.CA), 0o644)
}

// connect waits until every host has a subscriber.
func (t *trial) connect(ctx context.Context) error {
	var failed error
	err := t.relay.until(ctx, "not connected to all hosts", func() (bool, time.Duration) {
		n, err := t.crowd.count(ctx)
		if err != nil {
			failed = err
			return true, 0
		}
		return n.Subscribed == t.spec.Hosts, 100 * time.Millisecond
	})
	t.connected = time.Since(t.began)
	return errors.Join(err, failed)
}

// compare makes the crowd quiet and holds the relay's log against what it sent.
func (t *trial) compare(ctx context.Context) (crowdCount, crowdVerdict, error) {
	var n crowdCount
	var v crowdVerdict
	if err := t.crowd.ask(ctx, &n, lineQuiet); err != nil {
		return n, v, err
	}
	if n.Err != "" {
		return n, v, fmt.Errorf("crowd: %s", n.Err)
	}
	return n, v, t.crowd.ask(ctx, &v, lineCompare+" "+t.relay.addr)
}

// end ends every process and goroutine that was started.
func (t *trial) end() {
	t.unwatch()
	if t.relay != nil && t.relay.process != nil {
		t.relay.kill()
	}
	if t.crowd != nil {
		t.crowd.end()
	}
	if t.idler != nil {
		t.idler.end()
	}
}

// unwatch ends the watching; what was seen stays.
func (t *trial) unwatch() {
	for _, p := range []*prober{t.health, t.idle} {
		if p != nil {
			p.stop()
		}
	}
	if t.watcher != nil {
		t.watcher.stop()
	}
}
