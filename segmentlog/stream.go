package segmentlog

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
)

const streamIDSize = 16

// Epoch is one line of a stream's history: who continues the numbering, and from
// where.
type Epoch struct {
	Epoch    uint64 `json:"epoch"`
	FirstSeq uint64 `json:"first_seq"`
	// PrevLastSeq is the last seq kept of what stood before; 0 for the first epoch.
	PrevLastSeq uint64 `json:"prev_last_seq"`
}

// Stream is stream.json: the identity of a log, for ever.
type Stream struct {
	Version int    `json:"version"`
	ID      string `json:"stream"` // 32 lower-case hex digits, random
	// Numbers is the log that the numbers of the records are of, by the name of its host
	// when the stream began: "" for numbers of its own.
	Numbers string  `json:"numbers,omitempty"`
	Epochs  []Epoch `json:"epochs"`
	// TrimmedThrough is the last seq that was of the log and was removed, 0 for none.
	TrimmedThrough uint64 `json:"trimmed_through,omitempty"`
	// TrimmedLeaves is how many records those were: the index of the first leaf that is
	// left.
	TrimmedLeaves uint64 `json:"trimmed_leaves,omitempty"`
}

// NewStream returns a stream with a new random id, whose first epoch begins at
// firstSeq.
func NewStream(firstSeq uint64) Stream {
	id := make([]byte, streamIDSize)
	_, _ = rand.Read(id) // never fails (crypto/rand)
	return Stream{Version: 1, ID: hex.EncodeToString(id), Epochs: []Epoch{{Epoch: 1, FirstSeq: firstSeq}}}
}

// Encode returns the stream as its file holds it.
func (s *Stream) Encode() []byte {
	b, _ := json.MarshalIndent(s, "", "  ") // integers and a string
	return append(b, '\n')
}

// ParseStream reads what Encode wrote. A later version is ErrVersion.
func ParseStream(b []byte) (Stream, error) {
	var s Stream
	if err := json.Unmarshal(b, &s); err != nil {
		return s, err
	}
	if s.Version != 1 {
		return s, fmt.Errorf("version %d: %w", s.Version, ErrVersion)
	}
	if id, err := hex.DecodeString(s.ID); err != nil || len(id) != streamIDSize || len(s.Epochs) == 0 {
		return s, errors.New("no stream id or no epoch")
	}
	if s.TrimmedLeaves > s.TrimmedThrough { // a record has a number
		return s, fmt.Errorf("%d leaves up to seq %d", s.TrimmedLeaves, s.TrimmedThrough)
	}
	var last Epoch
	for _, e := range s.Epochs {
		switch {
		case e.Epoch <= last.Epoch:
			return s, fmt.Errorf("epoch %d stands after %d: they begin at 1 and ascend", e.Epoch, last.Epoch)
		case e.FirstSeq <= e.PrevLastSeq || e.FirstSeq < last.FirstSeq || e.FirstSeq == last.FirstSeq && !s.Borrowed() || e.FirstSeq > MaxSeq:
			return s, fmt.Errorf("epoch %d begins at seq %d, after %d", e.Epoch, e.FirstSeq, max(e.PrevLastSeq, last.FirstSeq))
		}
		last = e
	}
	return s, nil
}

// FirstLeaf returns the index of the log's first leaf; known is false where the log was
// trimmed by a version that did not note it.
func (s *Stream) FirstLeaf() (leaf uint64, known bool) {
	return s.TrimmedLeaves, s.TrimmedThrough == 0 || s.TrimmedLeaves > 0
}

// Current returns the epoch that is being written.
func (s *Stream) Current() Epoch { return s.Epochs[len(s.Epochs)-1] }

// Kept returns the first and last seq that the log holds of an epoch: what stands
// above the last belongs to a writer who had been overtaken. ok is false when nothing
// of the epoch is kept, or when the stream does not list it.
func (s *Stream) Kept(epoch uint64) (first, last uint64, ok bool) {
	i := slices.IndexFunc(s.Epochs, func(e Epoch) bool { return e.Epoch == epoch })
	if i < 0 {
		return 0, 0, false
	}
	last = MaxSeq
	for _, later := range s.Epochs[i+1:] {
		last = min(last, later.PrevLastSeq)
	}
	return s.Epochs[i].FirstSeq, last, s.Epochs[i].FirstSeq <= last
}

// Keeps says whether the segment is of the log.
func (s *Stream) Keeps(n SegmentName) bool {
	first, last, ok := s.Kept(n.Epoch)
	return ok && n.FirstSeq >= first && n.LastSeq <= last && n.LastSeq > s.TrimmedThrough
}

// Continues says whether s is old with no epoch or more added at its end.
func (s *Stream) Continues(old *Stream) bool {
	return s.ID == old.ID && len(s.Epochs) >= len(old.Epochs) && slices.Equal(s.Epochs[:len(old.Epochs)], old.Epochs)
}

// lists says whether e is one of the stream's epochs.
func (s *Stream) lists(e uint64) bool {
	return slices.ContainsFunc(s.Epochs, func(x Epoch) bool { return x.Epoch == e })
}
