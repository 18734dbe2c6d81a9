package verify

import (
	"fmt"

	"github.com/cistern-archive/cistern/internal/frame"
)

// Limits of the sync page and the lexicon, in bytes unless said otherwise.
const (
	MaxCommitBlocks = 2_000_000 // `blocks` of a #commit
	MaxSyncBlocks   = 10_000    // `blocks` of a #sync
	MaxOps          = 200       // operations of a #commit
	MaxRecordSize   = 1_000_000
)

// T18, sync page and lexicon: blocks are there, and not too large.
func checkBlocksSize(ev *frame.Event) error {
	limit := MaxCommitBlocks
	if ev.Kind == frame.Sync {
		limit = MaxSyncBlocks
	}
	switch n := len(ev.Blocks); {
	case n == 0:
		return drop(18, "blocks_empty", nil)
	case n > limit:
		return drop(18, "blocks_size", fmt.Errorf("%d bytes, want at most %d", n, limit))
	}
	return nil
}

// T19, sync page: at most 200 ops.
func checkOpCount(ev *frame.Event) error {
	if len(ev.Ops) > MaxOps {
		return drop(19, "op_count", fmt.Errorf("%d ops, want at most %d", len(ev.Ops), MaxOps))
	}
	return nil
}
