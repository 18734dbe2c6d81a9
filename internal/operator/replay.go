package operator

import (
	"bytes"
	"fmt"
	"io"

	"github.com/cockroachdb/errors/oserror"
)

// CorruptError is a line that cannot be read and that no crash explains.
type CorruptError struct {
	File string
	Line int // from 1
	Err  error
}

func (e *CorruptError) Error() string {
	return fmt.Sprintf("%s, line %d: %v. A decision that was in force stands there, so nothing starts without it: "+
		"mend the line, put back a copy of the file, or delete the line and decide again", e.File, e.Line, e.Err)
}

func (e *CorruptError) Unwrap() error { return e.Err }

// content is a file as it was read.
type content struct {
	whole   []byte         // the lines that count; the last may lack its newline
	torn    []byte         // what a crash left of one more
	unknown map[Action]int // lines of actions that this version does not know
}

// scan reads a file and calls apply with its decisions in order. When it fails, line is
// the number of the line that it failed on.
func scan(file []byte, apply func(*Decision)) (c content, line int, err error) {
	c = content{unknown: make(map[Action]int)}
	for rest := file; len(rest) > 0; {
		line++
		text, after, ended := bytes.Cut(rest, []byte("\n"))
		d, known, err := Decision{}, false, error(nil)
		if blank := len(bytes.TrimSpace(text)) == 0; !blank {
			d, known, err = parse(text)
			if err == nil && !known {
				c.unknown[d.Action]++
			}
		}
		// Data of a write that did not arrive is missing from the end, or is zeros.
		if err != nil && len(after) == 0 && (!ended || bytes.IndexByte(text, 0) >= 0) {
			c.torn = rest
			break
		}
		if err != nil {
			return c, line, err
		}
		if known {
			apply(&d)
		}
		rest = after
	}
	c.whole = file[:len(file)-len(c.torn)]
	return c, line, nil
}

// replay applies the file, when there is one, and copies what counts to a new one:
// what a process that died has written need not be on the disk, and a sync of the old
// file need not say so.
func (j *Journal) replay() error {
	file, err := j.read()
	if oserror.IsNotExist(err) {
		return nil
	}
	if err != nil {
		return err
	}
	c, line, err := scan(file, j.state.apply)
	if err != nil {
		return &CorruptError{j.path, line, err}
	}
	for action, n := range c.unknown {
		j.opts.Logger.Warn("decisions of a later version are kept but not in force here", "file", j.path, "action", action, "lines", n)
	}
	if c.torn != nil {
		j.opts.Logger.Warn("the last line was torn by a crash before it was acknowledged, and is cut",
			"file", j.path, "line", line, "bytes", len(c.torn), "began", fmt.Sprintf("%.100q", c.torn))
	}
	j.durable = int64(len(c.whole))
	if err := j.rewrite(c.whole); err != nil {
		// What was read is in force all the same, and the next decision tries again.
		j.opts.Logger.Warn("the file could not be written anew; no decision can be taken until it can", "file", j.path, "err", err)
	}
	return nil
}

func (j *Journal) read() ([]byte, error) {
	f, err := j.opts.FS.Open(j.path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(f)
}
