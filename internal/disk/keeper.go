package disk

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cistern-archive/cistern/segmentlog"
	"github.com/cistern-archive/cistern/segmentlog/bucket"
)

// Shares of the budget, in percent.
const (
	evictAbove = 90
	pauseAbove = 95
	resumeAt   = 93
)

// Log is what can be evicted from.
type Log interface {
	Sealed(after uint64) []segmentlog.SealedFile
	Evict(n segmentlog.SegmentName) error
}

// Options configures a Keeper. Budget, Dirs and Log are needed.
type Options struct {
	Budget int64    // bytes
	Dirs   []string // what counts
	Log    Log
	Every  time.Duration // between two looks: 10 s
	Logger *slog.Logger
	// Holds asks the archive whether it has a segment now; what it returns an error for
	// stays. An error that is neither bucket.ErrNotFound nor a *bucket.MismatchError is
	// about the archive, which is not asked again before the next look. Default: nil.
	Holds func(ctx context.Context, f *segmentlog.SealedFile) error
	// Evicted is called for every segment that was evicted, Paused when reading pauses and
	// resumes.
	Evicted func(bytes int64)
	Paused  func(bool)
	// Usage measures; default Usage of Dirs.
	Usage func() (int64, error)
}

// EnsureDefaults fills in what is not set.
func (o *Options) EnsureDefaults() {
	if o.Every == 0 {
		o.Every = 10 * time.Second
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Holds == nil {
		o.Holds = func(context.Context, *segmentlog.SealedFile) error { return nil }
	}
	if o.Evicted == nil {
		o.Evicted = func(int64) {}
	}
	if o.Paused == nil {
		o.Paused = func(bool) {}
	}
	if o.Usage == nil {
		o.Usage = func() (int64, error) { return Usage(o.Dirs...) }
	}
}

// Keeper keeps the budget. It is an ingest.Pacer: Behind says that reading is paused.
type Keeper struct {
	o    Options
	used atomic.Int64

	mu     sync.Mutex
	paused bool
	resume chan struct{} // closed while reading is not paused
}

// NewKeeper returns a keeper; Run it.
func NewKeeper(o Options) *Keeper {
	o.EnsureDefaults()
	k := &Keeper{o: o, resume: make(chan struct{})}
	close(k.resume)
	return k
}

// Used is what the last look found, in bytes.
func (k *Keeper) Used() int64 { return k.used.Load() }

// Behind says whether the reading of hosts is paused.
func (k *Keeper) Behind() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.paused
}

// Wait returns when reading is not paused, or ctx ends.
func (k *Keeper) Wait(ctx context.Context) {
	k.mu.Lock()
	resume := k.resume
	k.mu.Unlock()
	select {
	case <-resume:
	case <-ctx.Done():
	}
}

// Run looks again and again until ctx ends.
func (k *Keeper) Run(ctx context.Context) {
	tick := time.NewTicker(k.o.Every)
	defer tick.Stop()
	for {
		k.look(ctx)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// look measures, evicts, and pauses or resumes.
func (k *Keeper) look(ctx context.Context) {
	used, err := k.o.Usage()
	if err != nil {
		k.o.Logger.Warn("the disk that is used cannot be measured", "err", err)
		return
	}
	if over := used - k.share(evictAbove); over > 0 {
		used -= k.evict(ctx, over)
	}
	k.used.Store(used)
	switch paused := k.Behind(); {
	case !paused && used >= k.share(pauseAbove):
		k.pause(used)
	case paused && used < k.share(resumeAt):
		k.goOn(used)
	}
}

func (k *Keeper) share(percent int64) int64 { return k.o.Budget / 100 * percent }

// evict removes the oldest segments that the archive has until so many bytes are free,
// and returns how many are.
func (k *Keeper) evict(ctx context.Context, over int64) (freed int64) {
	files := k.o.Log.Sealed(0)
	for i, f := range files {
		if freed >= over || i == len(files)-1 { // the newest stays
			break
		}
		if !f.Archived || shared(f.Path) {
			continue
		}
		if err := k.o.Holds(ctx, &f); err != nil {
			if ctx.Err() != nil {
				break
			}
			k.o.Logger.Error("a segment that was archived is not evicted: the archive cannot show that it still has it", "segment", f.Name.String(), "err", err)
			if kind := bucket.KindOf(err); kind != "not_found" && kind != "mismatch" {
				break
			}
			continue
		}
		if err := k.o.Log.Evict(f.Name); err != nil {
			k.o.Logger.Warn("a segment could not be evicted", "segment", f.Name.String(), "err", err)
			continue
		}
		freed += f.Size
		k.o.Evicted(f.Size)
	}
	return freed
}

func (k *Keeper) pause(used int64) {
	k.mu.Lock()
	k.paused, k.resume = true, make(chan struct{})
	k.mu.Unlock()
	k.o.Paused(true)
	k.o.Logger.Error("the disk budget is used up and no segment can be evicted: reading of hosts is paused, serving goes on. "+
		"See why nothing is shipped, raise --disk-budget, or make room", "used", used, "budget", k.o.Budget)
}

func (k *Keeper) goOn(used int64) {
	k.mu.Lock()
	k.paused = false
	close(k.resume)
	k.mu.Unlock()
	k.o.Paused(false)
	k.o.Logger.Info("there is room in the disk budget again: hosts are read on", "used", used, "budget", k.o.Budget)
}
