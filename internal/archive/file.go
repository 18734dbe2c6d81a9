package archive

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/cistern-archive/cistern/segmentlog"
)

// File is a sealed segment that may be opened.
type File struct {
	Place string // path or URL, as it was found
	Name  segmentlog.SegmentName

	client *http.Client
	object *stored // in a bucket, nil for any other place
}

// Opened is an open segment; close it.
type Opened struct {
	*segmentlog.Segment
	io.Closer
}

// Open opens a segment and checks its footer. ctx bounds every later read over
// HTTP.
func (f *File) Open(ctx context.Context) (*Opened, error) {
	seg, err := f.open(ctx)
	if err != nil {
		return nil, err
	}
	if got := seg.Footer().Name; got != f.Name {
		_ = seg.Close() // opened for reading
		return nil, &segmentlog.CorruptError{File: f.Place, Offset: lastBlockEnd(seg.Footer()),
			Err: fmt.Errorf("the name says %s, the footer says %s", f.Name, got)}
	}
	return seg, nil
}

func (f *File) open(ctx context.Context) (*Opened, error) {
	if f.object == nil {
		return open(ctx, f.client, f.Place)
	}
	seg, err := segmentlog.OpenSegment(f.Place, f.object.open(ctx), f.object.size)
	if err != nil {
		return nil, err
	}
	return &Opened{seg, io.NopCloser(nil)}, nil
}

func open(ctx context.Context, client *http.Client, place string) (*Opened, error) {
	var r interface {
		io.ReaderAt
		io.Closer
	}
	var size int64
	if isURL(place) {
		o, err := openRemote(ctx, client, place)
		if err != nil {
			return nil, err
		}
		r, size = o, o.size
	} else {
		f, err := os.Open(place)
		if err != nil {
			return nil, err
		}
		st, err := f.Stat()
		if err == nil && !st.Mode().IsRegular() {
			err = fmt.Errorf("%s is not a regular file", place)
		}
		if err != nil {
			_ = f.Close() // opened for reading
			return nil, err
		}
		r, size = f, st.Size()
	}
	seg, err := segmentlog.OpenSegment(place, r, size)
	if err != nil {
		_ = r.Close() // the same
		return nil, err
	}
	return &Opened{seg, r}, nil
}

func isURL(place string) bool {
	return strings.HasPrefix(place, "http://") || strings.HasPrefix(place, "https://")
}

// base is the file name that a path or URL ends with.
func base(place string) string {
	if isURL(place) {
		place, _, _ = strings.Cut(place, "?")
		place, _, _ = strings.Cut(place, "#")
		return path.Base(place)
	}
	return filepath.Base(place)
}

// lastBlockEnd is where the footer frame begins.
func lastBlockEnd(f *segmentlog.Footer) int64 {
	b := &f.Blocks[len(f.Blocks)-1]
	return b.Offset + b.Wire
}
