package operator

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/cistern-archive/cistern/segmentlog"
)

const (
	// FileName is the file of decisions in the data directory.
	FileName  = "operator.jsonl"
	tmpSuffix = ".tmp"
)

// ErrClosed says that the Journal was closed.
var ErrClosed = errors.New("operator: closed")

// Options of a Journal. Dir must be set and exist; its owner holds the lock on it.
type Options struct {
	Dir    string           // the data directory
	FS     vfs.FS           // vfs.Default
	Logger *slog.Logger     // discards
	Now    func() time.Time // time.Now
	// OnDecide is called after each decision that became durable; it must not wait.
	OnDecide func()
}

// EnsureDefaults fills in what is not set.
func (o *Options) EnsureDefaults() {
	if o.FS == nil {
		o.FS = vfs.Default
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.OnDecide == nil {
		o.OnDecide = func() {}
	}
}

// Journal is the file of decisions and what they say together. It is safe for
// concurrent use; asking waits for no disk.
type Journal struct {
	opts Options
	path string

	writing sync.Mutex // held to decide
	file    vfs.File   // nil before the first write, after a failure and once closed
	durable int64      // bytes of whole lines that are synced
	closed  bool

	mu    sync.RWMutex
	state *state
}

// Open reads the decisions in the directory. It cuts a last line that a crash tore,
// and returns a *CorruptError for any other that it cannot read.
func Open(opts Options) (*Journal, error) {
	opts.EnsureDefaults()
	j := &Journal{opts: opts, path: opts.FS.PathJoin(opts.Dir, FileName), state: newState()}
	if err := j.replay(); err != nil {
		return nil, fmt.Errorf("operators' decisions: %w", err)
	}
	return j, nil
}

// Decide makes a decision durable and then effective. It sets the decision's time. A
// decision that changes nothing is not written. After an error nothing took effect
// here; after a crash it may have become durable all the same.
func (j *Journal) Decide(d Decision) error {
	d.Time = j.opts.Now().UTC().Truncate(time.Microsecond)
	if err := d.Check(); err != nil {
		return fmt.Errorf("operator's decision: %w", err)
	}
	line, err := appendLine(nil, &d)
	if err != nil {
		return fmt.Errorf("operator's decision: %w", err)
	}
	j.writing.Lock()
	defer j.writing.Unlock()
	if j.closed {
		return ErrClosed
	}
	if !j.changes(&d) {
		return nil
	}
	if err := j.append(line); err != nil {
		return fmt.Errorf("write to %s, the decision is not in force: %w", j.path, err)
	}
	j.mu.Lock()
	j.state.apply(&d)
	j.mu.Unlock()
	j.opts.OnDecide()
	return nil
}

func (j *Journal) changes(d *Decision) bool {
	j.mu.RLock()
	defer j.mu.RUnlock()
	return j.state.changes(d)
}

// append makes a line durable. A file that a write or a sync failed on is given up.
func (j *Journal) append(line []byte) error {
	if j.file == nil {
		if err := j.reopen(); err != nil {
			return err
		}
	}
	n, err := j.file.WriteAt(line, j.durable)
	if err == nil && n != len(line) {
		err = io.ErrShortWrite
	}
	if err == nil {
		err = j.file.Sync()
	}
	if err != nil {
		_ = j.file.Close() // the failure says more
		j.file = nil
		return err
	}
	j.durable += int64(len(line))
	return nil
}

// reopen copies what is durable to a new file and opens that.
func (j *Journal) reopen() error {
	var lines []byte
	if j.durable > 0 {
		var err error
		if lines, err = j.read(); err != nil {
			return err
		}
		if int64(len(lines)) < j.durable {
			return fmt.Errorf("%s has become shorter: %d bytes, %d were durable", j.path, len(lines), j.durable)
		}
		lines = lines[:j.durable]
	}
	return j.rewrite(lines)
}

// rewrite puts a new file with these lines in the place of the old one and opens it.
func (j *Journal) rewrite(lines []byte) error {
	if n := len(lines); n > 0 && lines[n-1] != '\n' {
		lines = append(lines[:n:n], '\n')
	}
	fs, tmp := j.opts.FS, j.path+tmpSuffix
	f, err := fs.Create(tmp, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	n, err := f.Write(lines)
	if err == nil && n != len(lines) {
		err = io.ErrShortWrite
	}
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = fs.Rename(tmp, j.path)
	}
	if err == nil {
		err = segmentlog.SyncDir(fs, j.opts.Dir)
	}
	if err == nil {
		j.file, err = fs.OpenReadWrite(j.path, vfs.WriteCategoryUnspecified)
	}
	if err == nil {
		j.durable = int64(len(lines))
	}
	return err
}

// Close ends the Journal. What was decided is durable already.
func (j *Journal) Close() error {
	j.writing.Lock()
	defer j.writing.Unlock()
	j.closed = true
	if j.file == nil {
		return nil
	}
	err := j.file.Close()
	j.file = nil
	return err
}
