package archive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	// remoteTail is how much of an object's end the first request asks for, in bytes:
	// what OpenSegment reads at first.
	remoteTail = 64 << 10
	// remoteTimeout bounds one request, body included.
	remoteTimeout = 2 * time.Minute
)

// ErrChanged says that an object is not the one that was opened.
var ErrChanged = errors.New("the object changed while it was read")

// remote is an object on an HTTP server, read by ranges. It may be used by any
// number of goroutines.
type remote struct {
	ctx    context.Context //nolint:containedctx // io.ReaderAt has no room for one; it lives as long as the open file
	client *http.Client
	url    string
	size   int64
	pin    string // ETag or Last-Modified of the first answer, "" for none

	tail   []byte // what the first request brought
	tailAt int64
}

// openRemote learns an object's length and identity.
func openRemote(ctx context.Context, client *http.Client, url string) (*remote, error) {
	r := &remote{ctx: ctx, client: client, url: url}
	ctx, cancel := context.WithTimeout(ctx, remoteTimeout)
	defer cancel()
	resp, err := r.get(ctx, fmt.Sprintf("bytes=-%d", remoteTail))
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close() // read as far as it is needed
	from, to, size, err := contentRange(resp.Header.Get("Content-Range"))
	if err != nil || to != size-1 || to-from >= remoteTail {
		return nil, fmt.Errorf("%s: the server answers the last %d bytes with Content-Range %q", url, remoteTail, resp.Header.Get("Content-Range"))
	}
	r.size, r.pin, r.tailAt = size, validator(resp.Header), from
	r.tail = make([]byte, to-from+1)
	if _, err := io.ReadFull(resp.Body, r.tail); err != nil {
		return nil, fmt.Errorf("%s: %w", url, err)
	}
	return r, nil
}

// get asks for a range; the answer is a 206.
func (r *remote) get(ctx context.Context, span string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.url, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Range", span)
	req.Header.Set("Accept-Encoding", "identity") // ranges are of the bytes as stored
	if r.pin != "" {
		req.Header.Set("If-Range", r.pin)
	}
	resp, err := r.client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", r.url, err)
	}
	switch {
	case resp.StatusCode == http.StatusPartialContent:
		return resp, nil
	case resp.StatusCode == http.StatusOK && r.pin != "":
		err = ErrChanged
	case resp.StatusCode == http.StatusOK:
		err = errors.New("the server does not answer ranges: download the file and read it from disk")
	default:
		err = errors.New(resp.Status)
	}
	_ = resp.Body.Close() // of no interest
	return nil, fmt.Errorf("%s: %w", r.url, err)
}

// ReadAt reads a range of the object.
func (r *remote) ReadAt(b []byte, off int64) (int, error) {
	if off < 0 || off > r.size {
		return 0, fmt.Errorf("%s: read at %d of %d bytes", r.url, off, r.size)
	}
	want := b[:min(int64(len(b)), r.size-off)]
	if off >= r.tailAt {
		copy(want, r.tail[off-r.tailAt:])
	} else if n, err := r.fetch(want, off); err != nil {
		return n, err
	}
	if len(want) < len(b) {
		return len(want), io.EOF
	}
	return len(want), nil
}

func (r *remote) fetch(b []byte, off int64) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	ctx, cancel := context.WithTimeout(r.ctx, remoteTimeout)
	defer cancel()
	end := off + int64(len(b)) - 1
	resp, err := r.get(ctx, fmt.Sprintf("bytes=%d-%d", off, end))
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close() // read as far as it is needed
	from, to, size, err := contentRange(resp.Header.Get("Content-Range"))
	switch {
	case err != nil || from != off || to != end:
		return 0, fmt.Errorf("%s: bytes %d to %d are answered with Content-Range %q", r.url, off, end, resp.Header.Get("Content-Range"))
	case size != r.size || validator(resp.Header) != r.pin:
		return 0, fmt.Errorf("%s: %w", r.url, ErrChanged)
	}
	n, err := io.ReadFull(resp.Body, b)
	if err != nil {
		err = fmt.Errorf("%s: %w", r.url, err)
	}
	return n, err
}

// Close does nothing: no connection is held between reads.
func (r *remote) Close() error { return nil }

// validator is what If-Range takes: a strong ETag, else a date (RFC 9110, section
// 13.1.5).
func validator(h http.Header) string {
	if tag := h.Get("ETag"); tag != "" && !strings.HasPrefix(tag, "W/") {
		return tag
	}
	return h.Get("Last-Modified")
}

// contentRange reads "bytes FROM-TO/SIZE".
func contentRange(s string) (from, to, size int64, err error) {
	bad := fmt.Errorf("not a Content-Range with a length: %q", s)
	rest, ok := strings.CutPrefix(s, "bytes ")
	span, total, ok2 := strings.Cut(rest, "/")
	first, last, ok3 := strings.Cut(span, "-")
	if !ok || !ok2 || !ok3 {
		return 0, 0, 0, bad
	}
	for _, p := range []struct {
		to   *int64
		text string
	}{{&from, first}, {&to, last}, {&size, total}} {
		v, err := strconv.ParseUint(p.text, 10, 62)
		if err != nil {
			return 0, 0, 0, bad
		}
		*p.to = int64(v)
	}
	if from > to || to >= size {
		return 0, 0, 0, bad
	}
	return from, to, size, nil
}
