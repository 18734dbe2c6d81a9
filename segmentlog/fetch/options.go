package fetch

import (
	"log/slog"
	"time"

	"golang.org/x/time/rate"

	"github.com/cistern-archive/cistern/segmentlog/bucket"
)

// Options configures a Fetcher. Bucket and Dir are needed.
type Options struct {
	Bucket bucket.Bucket
	// Dir is the folder of the cache; what is in it is removed at the start.
	Dir string
	// CacheBytes bounds the parts on disk: 2 GiB.
	CacheBytes int64
	// PartBytes is how much one request asks for: 4 MiB.
	PartBytes int64
	// Ahead is how many parts are asked for beyond the one that a reader has come to: 4.
	// 0 takes the default, -1 none.
	Ahead int
	// Requests bounds the requests under way: 8.
	Requests int
	// Limit bounds the bytes of all requests together; nil for not at all. Its burst must
	// be a part or more.
	Limit *rate.Limiter
	// Retry is how long a request that fails for now is tried again: 30 s.
	Retry  time.Duration
	Logger *slog.Logger
	Events Events
}

// Events are optional callbacks, from any goroutine.
type Events struct {
	Fetched  func(bytes int64, took time.Duration) // a part came from the bucket
	Failed   func(kind string)                     // a request failed (bucket.KindOf)
	Uncached func(error)                           // a part could not be kept
}

// NewLimit returns a limit of so many bytes a second that lets a part through at once.
func NewLimit(bytesPerSecond, partBytes int64) *rate.Limiter {
	return rate.NewLimiter(rate.Limit(bytesPerSecond), int(max(bytesPerSecond, partBytes)))
}

// EnsureDefaults fills in what is not set.
func (o *Options) EnsureDefaults() {
	if o.CacheBytes == 0 {
		o.CacheBytes = 2 << 30
	}
	if o.PartBytes == 0 {
		o.PartBytes = 4 << 20
	}
	if o.Ahead == 0 {
		o.Ahead = 4
	}
	if o.Requests == 0 {
		o.Requests = 8
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
	if e.Failed == nil {
		e.Failed = func(string) {}
	}
	if e.Uncached == nil {
		e.Uncached = func(error) {}
	}
}
