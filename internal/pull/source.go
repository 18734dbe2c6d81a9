package pull

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"github.com/cistern-archive/cistern/segmentlog"
	"github.com/cistern-archive/cistern/segmentlog/bucket"
	"github.com/cistern-archive/cistern/segmentlog/ship"
)

// Source is an archive that can be read.
type Source interface {
	Stream(ctx context.Context) (*segmentlog.Stream, error)
	// Catalog lists the segments of the log by the day of their first record, both bounds
	// included and "" for none.
	Catalog(ctx context.Context, from, to ship.Day) ([]ship.Entry, error)
	// Fetch reads a segment from an offset on.
	Fetch(ctx context.Context, e ship.Entry, off int64) (io.ReadCloser, error)
	// Suppressed returns JSON Lines of accounts whose frames must not be passed on, nil
	// where the source cannot tell.
	Suppressed(ctx context.Context) ([]byte, error)
	Close() error
}

// Open opens what a place names: http(s)://host[/archive/], s3://…, file:///folder or
// a folder.
func Open(ctx context.Context, place string) (Source, error) {
	switch {
	case strings.HasPrefix(place, "http://"), strings.HasPrefix(place, "https://"):
		return openHTTP(place)
	case strings.HasPrefix(place, "s3://"):
		b, err := bucket.Open(ctx, place)
		if err != nil {
			return nil, err
		}
		return &inBucket{b: b}, nil
	}
	dir := place
	if u, err := url.Parse(place); err == nil && u.Scheme == "file" {
		dir = filepath.FromSlash(u.Path)
	}
	b, err := bucket.OpenDirReadOnly(dir)
	if err != nil {
		return nil, err
	}
	return &inBucket{b: b}, nil
}

// inBucket is an archive's bucket itself.
type inBucket struct {
	b         bucket.Bucket
	inventory *ship.Inventory
}

func (s *inBucket) Close() error { return s.b.Close() }

func (s *inBucket) Stream(ctx context.Context) (*segmentlog.Stream, error) {
	return ship.ReadStream(ctx, s.b)
}

func (s *inBucket) Catalog(ctx context.Context, from, to ship.Day) ([]ship.Entry, error) {
	if s.inventory == nil {
		stream, err := s.Stream(ctx)
		if err != nil {
			return nil, err
		}
		v, err := ship.ReadInventory(ctx, s.b, stream)
		var gap *ship.GapError
		if err != nil && !errors.As(err, &gap) { // a hole is reported with what is there
			return nil, err
		}
		s.inventory = v
	}
	var out []ship.Entry
	for _, e := range s.inventory.Entries {
		if d := e.Day(); d >= from && (to == "" || d <= to) {
			out = append(out, e)
		}
	}
	return out, nil
}

func (s *inBucket) Fetch(ctx context.Context, e ship.Entry, off int64) (io.ReadCloser, error) {
	return s.b.Read(ctx, e.Key(), off, -1)
}

func (s *inBucket) Suppressed(ctx context.Context) ([]byte, error) {
	b, _, err := bucket.ReadAll(ctx, s.b, suppressedFile, maxAnswer)
	if errors.Is(err, bucket.ErrNotFound) {
		return nil, nil // only a relay can tell
	}
	return b, err
}

const (
	// maxAnswer bounds a catalog and the list of accounts, in bytes.
	maxAnswer = 1 << 30
	// stall is how long an answer may bring no byte.
	stall = time.Minute
)

// statusError is an answer that is none of what was asked for.
type statusError struct {
	url    string
	status int
	after  time.Duration // of Retry-After
}

func (e *statusError) Error() string {
	return fmt.Sprintf("%s: %d %s", e.url, e.status, http.StatusText(e.status))
}

// overHTTP is a relay's /archive/.
type overHTTP struct {
	base      string
	client    *http.Client
	transport *http.Transport
}

func openHTTP(place string) (*overHTTP, error) {
	u, err := url.Parse(place)
	if err != nil || u.Host == "" {
		return nil, fmt.Errorf("%q is not a URL such as https://relay.example", place)
	}
	u.RawQuery, u.Fragment = "", ""
	if strings.Trim(u.Path, "/") == "" {
		u.Path = "/archive/"
	}
	if !strings.HasSuffix(u.Path, "/") {
		u.Path += "/"
	}
	t := &http.Transport{
		Proxy: http.ProxyFromEnvironment, TLSHandshakeTimeout: 10 * time.Second, ResponseHeaderTimeout: stall, MaxIdleConnsPerHost: 16, DisableCompression: true,
	}
	return &overHTTP{base: u.String(), client: &http.Client{Transport: t}, transport: t}, nil
}

func (s *overHTTP) Close() error {
	s.transport.CloseIdleConnections()
	return nil
}

// get asks for a path; status 200, or 206 where a range is asked for.
func (s *overHTTP) get(ctx context.Context, path string, header ...string) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.base+path, nil)
	if err != nil {
		cancel(nil)
		return nil, err
	}
	want := http.StatusOK
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
		if header[i] == "Range" {
			want = http.StatusPartialContent
		}
	}
	resp, err := s.client.Do(req)
	if err != nil {
		cancel(nil)
		return nil, err
	}
	if resp.StatusCode != want {
		_ = resp.Body.Close() // of no interest
		cancel(nil)
		after, _ := time.ParseDuration(resp.Header.Get("Retry-After") + "s")
		return nil, &statusError{s.base + path, resp.StatusCode, after}
	}
	resp.Body = newPatient(resp.Body, cancel)
	return resp, nil
}

func (s *overHTTP) all(ctx context.Context, path string) ([]byte, error) {
	resp, err := s.get(ctx, path)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err == nil && len(b) > maxAnswer {
		err = errors.New("the answer is too long")
	}
	if err != nil {
		return nil, fmt.Errorf("%s%s: %w", s.base, path, err)
	}
	return b, nil
}

func (s *overHTTP) Stream(ctx context.Context) (*segmentlog.Stream, error) {
	b, err := s.all(ctx, ship.StreamKey)
	if err != nil {
		return nil, err
	}
	stream, err := segmentlog.ParseStream(b)
	if err != nil {
		return nil, fmt.Errorf("%s%s: %w", s.base, ship.StreamKey, err)
	}
	return &stream, nil
}

func (s *overHTTP) Catalog(ctx context.Context, from, to ship.Day) ([]ship.Entry, error) {
	q := url.Values{}
	if from != "" {
		q.Set("from", string(from))
	}
	if to != "" {
		q.Set("to", string(to))
	}
	b, err := s.all(ctx, "catalog?"+q.Encode())
	if err != nil {
		return nil, err
	}
	entries, err := ship.ParseEntries(b)
	if err != nil {
		return nil, fmt.Errorf("%scatalog: %w", s.base, err)
	}
	return entries, nil
}

func (s *overHTTP) Fetch(ctx context.Context, e ship.Entry, off int64) (io.ReadCloser, error) {
	tag := fmt.Sprintf(`"%x"`, e.SHA256)
	header := []string{"Accept-Encoding", "identity"}
	if off > 0 {
		header = append(header, "Range", fmt.Sprintf("bytes=%d-", off), "If-Match", tag)
	}
	resp, err := s.get(ctx, "segments/"+e.Name.String(), header...)
	if err != nil {
		return nil, err
	}
	if got := resp.Header.Get("ETag"); got != "" && got != tag {
		_ = resp.Body.Close() // it is another file
		return nil, fmt.Errorf("%w: the server has %s, the catalog says %s", errDiffers, got, tag)
	}
	return resp.Body, nil
}

func (s *overHTTP) Suppressed(ctx context.Context) ([]byte, error) { return s.all(ctx, "suppressed") }

// patient is a body that must bring a byte now and then.
type patient struct {
	io.ReadCloser
	cancel context.CancelCauseFunc
	timer  *time.Timer
}

var errStalled = errors.New("the server sent nothing for a minute")

func newPatient(body io.ReadCloser, cancel context.CancelCauseFunc) *patient {
	return &patient{body, cancel, time.AfterFunc(stall, func() { cancel(errStalled) })}
}

func (p *patient) Read(b []byte) (int, error) {
	n, err := p.ReadCloser.Read(b)
	p.timer.Reset(stall)
	return n, err
}

func (p *patient) Close() error {
	p.timer.Stop()
	p.cancel(nil)
	return p.ReadCloser.Close()
}
