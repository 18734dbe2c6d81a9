package segmentlog

import (
	"fmt"

	"github.com/transparency-dev/merkle/compact"
)

// leaves is what the records of a block come to in the footer: the tree's leaves
// and the counts by name.
type leaves struct {
	hashes      [][HashSize]byte
	kinds       map[string]uint64
	collections map[string]uint64 // "" counts those beyond maxCounted names
}

// reset forgets what was added and keeps the room.
func (l *leaves) reset() {
	*l = leaves{hashes: l.hashes[:0], kinds: map[string]uint64{}, collections: map[string]uint64{}}
}

// add takes the encoding of the next record. scratch and p are used again.
func (l *leaves) add(raw, scratch []byte, p *peeked) ([]byte, error) {
	leaf, frame, scratch, err := leafHash(raw, scratch)
	if err != nil {
		return scratch, err
	}
	l.hashes = append(l.hashes, leaf)
	p.peek(frame)
	l.kinds[string(p.kind)]++
	for _, c := range p.collections {
		if _, known := l.collections[string(c)]; known || len(l.collections) < maxCounted {
			l.collections[string(c)]++
		} else {
			l.collections[""]++
		}
	}
	return scratch, nil
}

// appendTo appends the leaves to a compact range.
func (l *leaves) appendTo(tree *compact.Range) error {
	for i := range l.hashes {
		if err := tree.Append(append([]byte(nil), l.hashes[i][:]...), nil); err != nil {
			return fmt.Errorf("tree: %w", err)
		}
	}
	return nil
}
