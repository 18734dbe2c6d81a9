package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
)

// announcement is what the upstream process says of itself, as a line of JSON, when
// it listens.
type announcement struct {
	PLC    string   `json:"plc"`
	Hosts  []string `json:"hosts"` // host:port
	Events int      `json:"events"`
	Bytes  int64    `json:"bytes"` // of all frames
}

// The lines that follow it.
const (
	lineSubscribed = "subscribed" // by it: every host has a subscriber
	linePublish    = "publish"    // to it: send everything
)

// upstream is the process that plays the hosts and the PLC directory.
type upstream struct {
	*process
	announcement
	in    io.WriteCloser
	lines chan string
}

// startUpstream starts the hosts over a file of frames; nothing of it is published.
func startUpstream(ctx context.Context, dir, file string) (*upstream, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	inRead, inWrite, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer inRead.Close()
	outRead, outWrite, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, inWrite.Close())
	}
	defer outWrite.Close()
	p, err := startProcess("upstream", dir, inRead, outWrite, self, "upstream", file)
	if err != nil {
		return nil, errors.Join(err, inWrite.Close(), outRead.Close())
	}
	u := &upstream{process: p, in: inWrite, lines: make(chan string, 4)}
	go func() {
		defer close(u.lines)
		defer outRead.Close()
		for sc := bufio.NewScanner(outRead); sc.Scan(); {
			u.lines <- sc.Text()
		}
	}()
	line, err := u.line(ctx, "listening")
	if err == nil {
		err = json.Unmarshal([]byte(line), &u.announcement)
	}
	if err != nil {
		u.end()
		return nil, err
	}
	return u, nil
}

// line waits for the next line that the process writes.
func (u *upstream) line(ctx context.Context, what string) (string, error) {
	select {
	case line, ok := <-u.lines:
		if !ok {
			<-u.ended
			return "", u.failure()
		}
		return line, nil
	case <-ctx.Done():
		return "", fmt.Errorf("upstream: not %s: %w", what, context.Cause(ctx))
	}
}

// subscribed waits until every host has a subscriber.
func (u *upstream) subscribed(ctx context.Context) error {
	line, err := u.line(ctx, lineSubscribed)
	if err == nil && line != lineSubscribed {
		err = fmt.Errorf("upstream said %q", line)
	}
	return err
}

// publish makes the hosts send everything, as fast as it is taken.
func (u *upstream) publish() error {
	_, err := fmt.Fprintln(u.in, linePublish)
	return err
}

// end ends the process; its standard input at an end would do the same.
func (u *upstream) end() {
	_ = u.in.Close() // nothing is lost
	u.kill()
	for range u.lines { // until the reading goroutine has ended
	}
}
