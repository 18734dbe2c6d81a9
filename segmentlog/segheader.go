package segmentlog

import (
	"encoding/hex"

	"github.com/cistern-archive/cistern/segmentlog/dagcbor"
)

// segmentFields is the length of a segment's header: a hot file's without the salt.
const segmentFields = hotFields - 1

// appendSegment appends the header item of a sealed segment.
func (h *Header) appendSegment(dst []byte) []byte {
	dst = dagcbor.AppendHead(dst, dagcbor.MajorArray, segmentFields)
	dst = dagcbor.AppendText(dst, headerMagic)
	dst = dagcbor.AppendUint(dst, headerVersion)
	dst = dagcbor.AppendText(dst, h.Stream)
	dst = dagcbor.AppendUint(dst, h.Epoch)
	dst = dagcbor.AppendUint(dst, h.FirstSeq)
	return dagcbor.AppendUint(dst, h.FirstLeaf)
}

// isStreamID says whether id is 32 lower-case hex digits.
func isStreamID(id string) bool {
	raw, err := hex.DecodeString(id)
	return err == nil && len(raw) == streamIDSize && hex.EncodeToString(raw) == id
}
