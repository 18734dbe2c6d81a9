package disposable

import (
	"log/slog"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// Options configures a Store. Dir and Name must be set.
type Options struct {
	// Dir is the store's own directory: everything in it may be deleted.
	Dir string
	// Name is what errors and log lines call the store: "index".
	Name string
	// FS is the file system: vfs.Default.
	FS vfs.FS
	// Logger: slog.Default().
	Logger *slog.Logger

	// CacheBytes is the memory for blocks that were read: 16 MiB.
	CacheBytes int64
	// MemTableBytes is how much is collected before it is written to a file: 32 MiB.
	// There may be twice as much in memory, and a batch, while a file is written.
	MemTableBytes uint64
	// Merger combines operands of Merge, for an owner that uses it.
	Merger *pebble.Merger
	// Levels are Pebble's, for an owner that wants filters or compression.
	Levels [7]pebble.LevelOptions
	// Deletes says that much is deleted, so that compactions should be chosen by what
	// they give back.
	Deletes bool
	// SetAside is a directory, of the same file system and not in Dir, that takes what
	// would be discarded, for an owner that cannot fill a store again. "" discards it.
	SetAside string

	// Accept looks at what a store holds and says why it cannot be kept. It may label
	// an empty one. It is called again for the empty store that takes the place of one
	// that was not accepted.
	Accept func(*Store) error
}

// EnsureDefaults fills in what is not set.
func (o *Options) EnsureDefaults() {
	if o.FS == nil {
		o.FS = vfs.Default
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.CacheBytes == 0 {
		o.CacheBytes = 16 << 20
	}
	if o.MemTableBytes == 0 {
		o.MemTableBytes = 32 << 20
	}
	if o.Accept == nil {
		o.Accept = func(*Store) error { return nil }
	}
}
