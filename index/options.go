package index

import (
	"log/slog"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/cistern-archive/cistern/segmentlog"
)

// Options configures an Index. Dir and Stream must be set.
type Options struct {
	// Dir is the index's own directory: everything in it may be deleted.
	Dir string
	// FS is the file system: vfs.Default.
	FS vfs.FS
	// Logger: slog.Default().
	Logger *slog.Logger

	// Stream is the id of the log that the index is of.
	Stream string
	// Tip is the log's last durable seq: an index that is ahead of it is discarded.
	Tip uint64
	// Epochs are those of the log's stream.json. An index whose watermark stands in
	// the hole between two of them is of records that were lost: it is discarded.
	Epochs []segmentlog.Epoch

	// CacheBytes is the memory for blocks that were read: 16 MiB.
	CacheBytes int64
	// MemTableBytes is how much is collected before it is written to a file: 32 MiB.
	// There may be twice as much in memory, and a batch, while a file is written.
	MemTableBytes uint64
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
}
