package segmentlog

import (
	"fmt"
	"strings"
)

const segmentSuffix = ".cbor.zst"

// SegmentName is what the name of a sealed segment says. A name never changes its
// bytes: a rewrite is a new generation.
type SegmentName struct {
	Epoch      uint64
	FirstSeq   uint64
	LastSeq    uint64
	Generation uint64
}

// String is the file name: <epoch>-<first_seq>-<last_seq>.<generation>.cbor.zst.
func (n SegmentName) String() string {
	return fmt.Sprintf("%08d-%016d-%016d.%d%s", n.Epoch, n.FirstSeq, n.LastSeq, n.Generation, segmentSuffix)
}

// ParseSegmentName reads a file name; ok is false for any other name.
func ParseSegmentName(name string) (n SegmentName, ok bool) {
	stem, found := strings.CutSuffix(name, segmentSuffix)
	if !found {
		return n, false
	}
	if c, err := fmt.Sscanf(stem, "%d-%d-%d.%d", &n.Epoch, &n.FirstSeq, &n.LastSeq, &n.Generation); c != 4 || err != nil {
		return n, false
	}
	return n, n.String() == name && n.FirstSeq <= n.LastSeq && n.LastSeq <= MaxSeq
}
