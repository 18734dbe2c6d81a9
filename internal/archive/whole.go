package archive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/cistern-archive/cistern/segmentlog/bucket"
	"github.com/cistern-archive/cistern/segmentlog/ship"
)

// maxCatalog bounds what a server may answer with, in bytes.
const maxCatalog = 1 << 30

// wholeArchive lists the segments of an archive that is named as a whole: http(s)://relay,
// http(s)://relay/archive/ or s3://bucket/prefix. ok is false for any other place.
func wholeArchive(ctx context.Context, client *http.Client, place string) (files []*File, ok bool, err error) {
	switch {
	case strings.HasPrefix(place, "s3://"):
		files, err = inBucket(ctx, place)
	case isURL(place) && !strings.HasSuffix(base(place), Suffix):
		files, err = onRelay(ctx, client, place)
	default:
		return nil, false, nil
	}
	if err == nil && len(files) == 0 {
		err = fmt.Errorf("%s holds no sealed segment", place)
	}
	return files, true, err
}

// onRelay asks a relay for its catalog.
func onRelay(ctx context.Context, client *http.Client, place string) ([]*File, error) {
	u, err := url.Parse(place)
	if err != nil {
		return nil, err
	}
	if strings.Trim(u.Path, "/") == "" {
		u.Path = "/archive/"
	}
	u.RawQuery, u.Fragment = "", ""
	at := strings.TrimSuffix(u.String(), "/") + "/"
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at+"catalog", nil)
	if err != nil {
		return nil, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s: is that a relay's archive?", req.URL, resp.Status)
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxCatalog+1))
	if err == nil && len(b) > maxCatalog {
		err = errors.New("the answer is too long")
	}
	var entries []ship.Entry
	if err == nil {
		entries, err = ship.ParseEntries(b)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", req.URL, err)
	}
	files := make([]*File, len(entries))
	for i, e := range entries {
		files[i] = &File{Place: at + "segments/" + e.Name.String(), Name: e.Name, client: client}
	}
	return files, nil
}

// inBucket lists a bucket, which stays open until the process ends.
func inBucket(ctx context.Context, place string) ([]*File, error) {
	b, err := bucket.Open(ctx, place)
	if err != nil {
		return nil, err
	}
	stream, err := ship.ReadStream(ctx, b)
	if err != nil {
		return nil, err
	}
	v, err := ship.ReadInventory(ctx, b, stream)
	var gap *ship.GapError
	if err != nil && !errors.As(err, &gap) { // verification says what is missing
		return nil, err
	}
	files := make([]*File, len(v.Entries))
	for i := range v.Entries {
		e := &v.Entries[i]
		files[i] = &File{Place: b.String() + "/" + e.Key(), Name: e.Name, object: &stored{b, e.Key(), e.Bytes}}
	}
	return files, nil
}

// stored is a segment in a bucket.
type stored struct {
	b    bucket.Bucket
	key  string
	size int64
}

// open returns the object as it is read by ranges, each its own request.
func (o *stored) open(ctx context.Context) io.ReaderAt { return bucket.ReaderAt(ctx, o.b, o.key) }
