package verify

import (
	"fmt"
	"iter"

	"github.com/cistern-archive/cistern/internal/frame"
	"github.com/cistern-archive/cistern/internal/signing"
)

// Signature checks of a #commit or #sync what can be told from it and a key alone,
// with no stored state: rows T18 and T22–T27. Options.Now is the clock of T27.
func (v *Verifier) Signature(ev *frame.Event, key *signing.Key) error {
	c, err := v.open(ev)
	if err != nil {
		return err
	}
	return v.checkSignature(c, key)
}

// Blocks iterates the blocks of a frame's CAR in their order. Nothing is hashed:
// it is for frames that were verified. An error ends the iteration.
func Blocks(car []byte) iter.Seq2[Block, error] {
	return func(yield func(Block, error) bool) {
		_, rest, err := readCARHeader(car)
		for err == nil && len(rest) > 0 {
			var b Block
			if b.CID, b.Data, rest, err = nextBlock(rest); err == nil && !yield(b, nil) {
				return
			}
		}
		if err != nil {
			yield(Block{}, fmt.Errorf("blocks: %w", err))
		}
	}
}

// Block is a block of a CAR; both slices alias the frame.
type Block struct {
	CID  []byte
	Data []byte
}
