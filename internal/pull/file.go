package pull

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/cistern-archive/cistern/segmentlog"
	"github.com/cistern-archive/cistern/segmentlog/bucket"
	"github.com/cistern-archive/cistern/segmentlog/ship"
)

const (
	partSuffix = ".part"
	// tries is how often a download that brings nothing is tried.
	tries   = 8
	maxWait = time.Minute
)

// errDiffers means that the source does not hold what its catalog says.
var errDiffers = errors.New("it is not what the catalog says")

// localError is what goes wrong on this side: nothing more can be downloaded.
type localError struct{ err error }

func (e *localError) Error() string { return e.err.Error() }
func (e *localError) Unwrap() error { return e.err }

func isLocal(err error) bool {
	var l *localError
	return errors.As(err, &l)
}

func local(err error) error {
	if err == nil {
		return nil
	}
	return &localError{err}
}

// get brings a segment under its temporary name, proven against the catalog and synced,
// for settle to give it its own; nil where it was there.
func (p *puller) get(ctx context.Context, e ship.Entry) (*download, error) {
	path := filepath.Join(p.o.Out, filepath.FromSlash(e.Key()))
	if st, err := os.Stat(path); err == nil && st.Size() == e.Bytes {
		p.advance(e.Bytes)
		return nil, nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, local(err)
	}
	d := &download{p: p, e: e, path: path + partSuffix}
	defer d.close()
	if err := d.resume(); err != nil {
		return nil, local(err)
	}
	if err := d.run(ctx); err != nil {
		return nil, err
	}
	if err := d.prove(); err != nil {
		// Nothing of it can be trusted: the next run begins anew.
		return nil, errors.Join(err, os.Remove(d.path))
	}
	return d, local(d.f.Sync())
}

// download is a file on its way.
type download struct {
	p    *puller
	e    ship.Entry
	path string
	f    *os.File
	h    hash.Hash
	off  int64
}

func (d *download) close() {
	if d.f != nil {
		_ = d.f.Close() // it was synced, or is to be resumed
	}
}

// resume opens the part that an earlier run left, and hashes it.
func (d *download) resume() (err error) {
	if d.f, err = os.OpenFile(d.path, os.O_RDWR|os.O_CREATE, 0o644); err != nil {
		return err
	}
	d.h = sha256.New()
	if d.off, err = io.Copy(d.h, d.f); err != nil {
		return err
	}
	if d.off > d.e.Bytes { // it is of something else
		d.off = 0
		d.h.Reset()
		if err := d.f.Truncate(0); err != nil {
			return err
		}
		if _, err := d.f.Seek(0, io.SeekStart); err != nil {
			return err
		}
	}
	d.p.advance(d.off)
	return nil
}

// run downloads what is missing, and tries again as long as something comes.
func (d *download) run(ctx context.Context) error {
	wait := d.p.o.Wait
	for failed := 0; d.off < d.e.Bytes; {
		before := d.off
		err := d.once(ctx)
		if err == nil && d.off < d.e.Bytes {
			err = io.ErrUnexpectedEOF
		}
		if err == nil {
			break
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if failed++; d.off > before {
			failed, wait = 0, d.p.o.Wait
		}
		if isLocal(err) || !passes(err) || failed >= tries {
			return err
		}
		pause := wait/2 + rand.N(wait/2+1)
		var status *statusError
		if errors.As(err, &status) {
			pause = max(pause, min(status.after, maxWait))
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return context.Cause(ctx)
		}
		wait = min(2*wait, maxWait)
	}
	return nil
}

// passes says whether another try may go better.
func passes(err error) bool {
	var s *statusError
	if errors.As(err, &s) {
		return s.status >= 500 || s.status == http.StatusTooManyRequests || s.status == http.StatusRequestTimeout
	}
	return !errors.Is(err, errDiffers) && !errors.Is(err, bucket.ErrNotFound) && !errors.Is(err, bucket.ErrRefused)
}

// once reads from where the file ends.
func (d *download) once(ctx context.Context) error {
	r, err := d.p.o.From.Fetch(ctx, d.e, d.off)
	if err != nil {
		return err
	}
	defer r.Close()
	buf := make([]byte, 256<<10)
	for {
		n, err := r.Read(buf)
		if d.off+int64(n) > d.e.Bytes {
			return fmt.Errorf("%w: it is longer than %d bytes", errDiffers, d.e.Bytes)
		}
		if n > 0 {
			if _, werr := d.f.Write(buf[:n]); werr != nil {
				return local(werr)
			}
			d.h.Write(buf[:n])
			d.off += int64(n)
			d.p.advance(int64(n))
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// prove compares the file with the catalog's line, and that with what the segment says
// of itself.
func (d *download) prove() error {
	if sum := d.h.Sum(nil); [sha256.Size]byte(sum) != d.e.SHA256 {
		return fmt.Errorf("%w: its SHA-256 is %x, not %x", errDiffers, sum, d.e.SHA256)
	}
	seg, err := segmentlog.OpenSegment(d.e.Name.String(), d.f, d.e.Bytes)
	if err != nil {
		return err
	}
	if id := seg.Footer().Stream; id != d.p.stream.ID {
		return fmt.Errorf("%w: it is of stream %s", errDiffers, id)
	}
	own, err := ship.NewEntry(seg.Footer(), d.e.Bytes, d.e.SHA256)
	if err != nil {
		return err
	}
	if string(own.Encode()) != string(d.e.Encode()) {
		return fmt.Errorf("%w: its footer says %s", errDiffers, own.Encode())
	}
	return nil
}

// replace writes a small file at once.
func replace(path string, content []byte) error {
	dir, name := filepath.Split(path)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return segmentlog.ReplaceFile(vfs.Default, dir, name, content)
}
