package fetch

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/cistern-archive/cistern/segmentlog/bucket"
)

// Options configures a Fetcher. Bucket and Dir are needed.
type Options struct {
	// Bucket is read from; it stays the caller's to close, after the Fetcher.
	Bucket bucket.Bucket
	// Dir is the folder of the cache. It is made, or must hold nothing but what an
	// earlier Fetcher left, which is removed. One Fetcher uses it at a time.
	Dir string
	// FS is the file system of Dir: vfs.Default.
	FS vfs.FS
	// CacheBytes bounds the files in Dir: 2 GiB. It must hold a part.
	CacheBytes int64
	// PartBytes is how much of an object one request reads: 4 MiB.
	PartBytes int64
	// Ahead is how many parts are read ahead of a reader: 4, and at most half of what
	// the cache holds. Negative: none.
	Ahead int
	// MaxRequests bounds the requests that are made at once, and the part buffers: 8.
	MaxRequests int
	// Rate bounds the bytes a second that all requests together ask for, as an average
	// above one part: 0 for no bound. A request that fails counts whole.
	Rate int64
	// Retry is for how long an error that may pass is tried again: 30 s. Negative: not
	// at all.
	Retry time.Duration
	// Logger: slog.Default().
	Logger *slog.Logger
	// Events are told what an operator may want to count.
	Events Events
}

// Events is a set of optional callbacks, called from any goroutine. They must not call
// the Fetcher.
type Events struct {
	// Fetched: a part was read from the bucket, in took from the request to its last byte.
	Fetched func(bytes int64, took time.Duration)
	// Hit: so many bytes were read from the cache.
	Hit func(bytes int64)
	// Failed: a part could not be read from the bucket, once for all who waited for it.
	// kind is the error that they get; bucket.KindOf sorts it.
	Failed func(key string, kind error)
	// Uncached: a part could not be written to the cache, as on a full disk. Its
	// readers have got it all the same.
	Uncached func(bytes int64, err error)
}

// EnsureDefaults sets what is not set.
func (o *Options) EnsureDefaults() {
	if o.FS == nil {
		o.FS = vfs.Default
	}
	if o.CacheBytes == 0 {
		o.CacheBytes = 2 << 30
	}
	if o.PartBytes == 0 {
		o.PartBytes = 4 << 20
	}
	if o.Ahead == 0 {
		o.Ahead = 4
	}
	if o.MaxRequests == 0 {
		o.MaxRequests = 8
	}
	if o.Retry == 0 {
		o.Retry = 30 * time.Second
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	e := &o.Events
	if e.Fetched == nil {
		e.Fetched = func(int64, time.Duration) {}
	}
	if e.Hit == nil {
		e.Hit = func(int64) {}
	}
	if e.Failed == nil {
		e.Failed = func(string, error) {}
	}
	if e.Uncached == nil {
		e.Uncached = func(int64, error) {}
	}
}

// check says what is wrong with the options once the defaults are set, and bounds Ahead.
func (o *Options) check() error {
	switch {
	case o.Bucket == nil:
		return errors.New("there is no Bucket")
	case o.Dir == "":
		return errors.New("there is no Dir")
	case o.PartBytes < 0 || o.PartBytes > math.MaxInt32:
		return fmt.Errorf("a PartBytes of %d: it must be from 1 to %d", o.PartBytes, math.MaxInt32)
	case o.CacheBytes < o.PartBytes:
		return fmt.Errorf("a CacheBytes of %d: it must hold a part of %d", o.CacheBytes, o.PartBytes)
	case o.MaxRequests < 0:
		return fmt.Errorf("a MaxRequests of %d", o.MaxRequests)
	case o.Rate < 0:
		return fmt.Errorf("a Rate of %d", o.Rate)
	}
	o.Ahead = int(max(0, min(int64(o.Ahead), o.CacheBytes/o.PartBytes/2)))
	return nil
}
