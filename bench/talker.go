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

// talker is this program started again to play the network: it says lines of its own
// on standard output and takes lines on standard input, at whose end it ends.
type talker struct {
	*process
	in    io.WriteCloser
	lines chan string
}

// startTalker starts this program with arguments of its own.
func startTalker(name, dir string, args ...string) (*talker, error) {
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
	p, err := startProcess(command{name: name, dir: dir, path: self, args: args, stdin: inRead, stdout: outWrite})
	if err != nil {
		return nil, errors.Join(err, inWrite.Close(), outRead.Close())
	}
	t := &talker{process: p, in: inWrite, lines: make(chan string, 4)}
	go func() {
		defer close(t.lines)
		defer outRead.Close()
		sc := bufio.NewScanner(outRead)
		sc.Buffer(nil, maxLine)
		for sc.Scan() {
			t.lines <- sc.Text()
		}
	}()
	return t, nil
}

// maxLine bounds what a talker says at once, in bytes.
const maxLine = 4 << 20

// line waits for the next line that the process writes.
func (t *talker) line(ctx context.Context, what string) (string, error) {
	select {
	case line, ok := <-t.lines:
		if !ok {
			<-t.ended
			return "", t.failure()
		}
		return line, nil
	case <-ctx.Done():
		return "", fmt.Errorf("%s: not %s: %w", t.name, what, context.Cause(ctx))
	}
}

// answer waits for the next line, which is JSON.
func (t *talker) answer(ctx context.Context, what string, v any) error {
	line, err := t.line(ctx, what)
	if err != nil {
		return err
	}
	if err := json.Unmarshal([]byte(line), v); err != nil {
		return fmt.Errorf("%s: not %s: %w in %.200q", t.name, what, err, line)
	}
	return nil
}

// expect waits for the next line, which must be a certain one.
func (t *talker) expect(ctx context.Context, want string) error {
	line, err := t.line(ctx, want)
	if err == nil && line != want {
		err = fmt.Errorf("%s said %.200q instead of %q", t.name, line, want)
	}
	return err
}

// tell writes a line to the process.
func (t *talker) tell(format string, args ...any) error {
	_, err := fmt.Fprintf(t.in, format+"\n", args...)
	return err
}

// end ends the process; its standard input at an end would do the same.
func (t *talker) end() {
	_ = t.in.Close() // nothing is lost
	t.kill()
	for range t.lines { // until the reading goroutine has ended
	}
}
