package segmentlog

import (
	"log/slog"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Options configures a Log. The zero value with Dir set is usable.
type Options struct {
	// Dir is the data directory; the log keeps stream.json, reserved.json, LOCK and
	// the folder log in it.
	Dir string
	// FS is the file system: vfs.Default.
	FS vfs.FS
	// Logger: slog.Default().
	Logger *slog.Logger
	// Now gives wall and monotonic time: time.Now.
	Now func() time.Time
	// Monotonic is the clock that the wall clock is held against: the monotonic
	// reading in what Now returns, so that a Now without one is trusted.
	Monotonic func() time.Duration

	// Stream is what the archive says that the log is: nil for what the data directory
	// says. Its last epoch is the one that is written from now on.
	Stream *Stream
	// Archived are the segments of the log that the archive holds, in order. Those that
	// are not in the data directory too are read by OpenArchived.
	Archived []Archived
	// OpenArchived opens a segment of Archived; it is called from any goroutine.
	OpenArchived func(Archived) (ArchivedFile, error)
	// Ceiling is the highest number that may be reserved, 0 for MaxSeq. Log.SetCeiling
	// raises it.
	Ceiling uint64

	// Numbers names the log whose numbers the records bear, where each entry has one: ""
	// for numbers of the log's own. It must not change.
	Numbers string
	// InitialSeq is the least number of the next record; a smaller one than the log
	// would use anyway changes nothing.
	InitialSeq uint64
	// MaxHotBytes closes a hot file and begins the next: 256 MiB.
	MaxHotBytes int64
	// SegmentAge closes a hot file that was begun so long ago: 0 for never.
	SegmentAge time.Duration
	// Seal turns closed hot files into sealed segments in the background; nil: they
	// stay as they are.
	Seal *SegmentOptions
	// MaxPendingBytes bounds what waits for the disk; Append blocks above it: 32 MiB.
	MaxPendingBytes int
	// RetryNoSpace is how long to wait before a full disk is tried again: 1 s.
	RetryNoSpace time.Duration

	// OnCommit is called, in order and from one goroutine, with every group commit
	// after its fsync. The batch is valid during the call only.
	OnCommit func(Batch)
	// Events are told what an operator may want to count.
	Events Events
}

// Events is a set of optional callbacks, called from the log's own goroutine
// unless they say otherwise.
type Events struct {
	Commit    func(CommitInfo)
	NoSpace   func(error)   // a write found the disk full; intake is paused
	SpaceBack func()        // writing goes on
	Rotate    func(string)  // a hot file was closed
	TornTail  func(CutInfo) // the start cut a torn write

	// ClockJump and ClockBack are called from a goroutine that appends.
	ClockJump func(time.Duration) // the wall clock jumped by so much; intake is paused
	ClockBack func()              // intake goes on

	// Seal and SealFailed are called from the sealer's goroutine.
	Seal       func(SealInfo)
	SealFailed func(path string, err error)
}

// CommitInfo describes one group commit.
type CommitInfo struct {
	Events   int
	Bytes    int
	Duration time.Duration // of the write and the fsync
}

// CutInfo describes a torn write that the start cut.
type CutInfo struct {
	File   string
	Offset int64
	Bytes  int64
}

// EnsureDefaults fills in what is not set.
func (o *Options) EnsureDefaults() {
	if o.FS == nil {
		o.FS = vfs.Default
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.MaxHotBytes == 0 {
		o.MaxHotBytes = 256 << 20
	}
	if o.MaxPendingBytes == 0 {
		o.MaxPendingBytes = 32 << 20
	}
	if o.RetryNoSpace == 0 {
		o.RetryNoSpace = time.Second
	}
	if o.OnCommit == nil {
		o.OnCommit = func(Batch) {}
	}
	e := &o.Events
	if e.Commit == nil {
		e.Commit = func(CommitInfo) {}
	}
	if e.NoSpace == nil {
		e.NoSpace = func(error) {}
	}
	if e.SpaceBack == nil {
		e.SpaceBack = func() {}
	}
	if e.Rotate == nil {
		e.Rotate = func(string) {}
	}
	if e.ClockJump == nil {
		e.ClockJump = func(time.Duration) {}
	}
	if e.ClockBack == nil {
		e.ClockBack = func() {}
	}
	if e.Seal == nil {
		e.Seal = func(SealInfo) {}
	}
	if e.SealFailed == nil {
		e.SealFailed = func(string, error) {}
	}
	if e.TornTail == nil {
		e.TornTail = func(CutInfo) {}
	}
}
