package segmentlog

import (
	"fmt"

	"github.com/cockroachdb/errors/oserror"
	"github.com/cockroachdb/pebble/v2/vfs"
)

const streamFile = "stream.json"

// ReadStream reads a data directory's stream.json; oserror.IsNotExist tells where
// there is none.
func ReadStream(fs vfs.FS, dir string) (*Stream, error) {
	path := fs.PathJoin(dir, streamFile)
	b, err := ReadFile(fs, path)
	if err != nil {
		return nil, err
	}
	s, err := ParseStream(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return &s, nil
}

// openStream returns the stream of a data directory. o.Stream, where it is set, is the
// same with what the archive knows of it, and is kept. When there is no file and
// create is set, it makes a new one.
func openStream(o *Options, firstSeq uint64, create bool) (*Stream, error) {
	fs, dir, wanted := o.FS, o.Dir, o.Stream
	s, err := ReadStream(fs, dir)
	switch {
	case err != nil && !oserror.IsNotExist(err):
		return nil, err
	case err != nil && wanted == nil && !create:
		return nil, fmt.Errorf("%s is missing, but there are log files: restore it, or move the folder away", fs.PathJoin(dir, streamFile))
	case err == nil && wanted == nil:
		return s, nil
	case err == nil && !wanted.Continues(s):
		return nil, fmt.Errorf("%s is of stream %s in epoch %d, which does not lead to epoch %d of stream %s",
			fs.PathJoin(dir, streamFile), s.ID, s.Current().Epoch, wanted.Current().Epoch, wanted.ID)
	case err == nil && len(s.Epochs) == len(wanted.Epochs) && s.TrimmedThrough >= wanted.TrimmedThrough:
		return s, nil
	}
	// The log's folders must survive before the first event can.
	if err := syncAncestors(fs, dir); err != nil {
		return nil, err
	}
	if wanted == nil {
		made := NewStream(firstSeq)
		made.Numbers = o.Numbers
		wanted = &made
	}
	return wanted, ReplaceFile(fs, dir, streamFile, wanted.Encode())
}
