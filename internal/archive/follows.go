package archive

import (
	"bytes"
	"fmt"

	"github.com/cistern-archive/cistern/segmentlog"
)

// Follows says why a segment does not go on where the last one, of a file, ended: in its
// leaves, its seqs, its epoch, its times, and in the tree that its frontier says stood
// before it. nil: it does.
func Follows(last *segmentlog.Footer, lastFile string, next *segmentlog.Footer) error {
	end := last.FirstLeaf + last.Count
	switch {
	case next.Stream != last.Stream:
		return fmt.Errorf("it is of stream %s, %s of stream %s: not one log", next.Stream, lastFile, last.Stream)
	case next.FirstLeaf > end:
		return fmt.Errorf("%d records are missing between %s and this file: leaves %d to %d, seqs between %d and %d",
			next.FirstLeaf-end, lastFile, end, next.FirstLeaf-1, last.Name.LastSeq, next.Name.FirstSeq)
	case next.FirstLeaf < end && next.Name.Epoch != last.Name.Epoch:
		return fmt.Errorf("it begins at leaf %d, which %s has too, up to leaf %d: of two epochs that go on from one point the higher, %d, is the log; leave the other's files out",
			next.FirstLeaf, lastFile, end-1, max(next.Name.Epoch, last.Name.Epoch))
	case next.FirstLeaf < end:
		return fmt.Errorf("it begins at leaf %d, but %s ends with leaf %d: they overlap", next.FirstLeaf, lastFile, end-1)
	case next.Name.FirstSeq <= last.Name.LastSeq:
		return fmt.Errorf("it begins with seq %d, but %s ends with seq %d", next.Name.FirstSeq, lastFile, last.Name.LastSeq)
	case next.Name.Epoch < last.Name.Epoch:
		return fmt.Errorf("it is of epoch %d, but %s of epoch %d", next.Name.Epoch, lastFile, last.Name.Epoch)
	case next.FirstWitnessed < last.LastWitnessed:
		return fmt.Errorf("its first record was witnessed at %d µs, the last one of %s at %d µs", next.FirstWitnessed, lastFile, last.LastWitnessed)
	}
	return sameTree(last, lastFile, next)
}

// sameTree says whether the frontier of a segment is the tree of the one before.
func sameTree(last *segmentlog.Footer, lastFile string, next *segmentlog.Footer) error {
	tree, err := last.TreeAfter()
	if err != nil { // the footer's own check has passed: not reached
		return fmt.Errorf("%s: %w", lastFile, err)
	}
	hashes := tree.Hashes()
	same := len(hashes) == len(next.Frontier)
	for i := 0; same && i < len(hashes); i++ {
		same = bytes.Equal(hashes[i], next.Frontier[i])
	}
	if !same {
		return fmt.Errorf("its tree does not follow from %s, whose root is %x", lastFile, last.Root)
	}
	return nil
}
