package segmentlog

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/cockroachdb/errors/oserror"
	"github.com/cockroachdb/pebble/v2/vfs"
)

const (
	streamFile   = "stream.json"
	streamIDSize = 16
)

// Epoch is one line of a stream's history: who continues the numbering, and from
// where.
type Epoch struct {
	Epoch    uint64 `json:"epoch"`
	FirstSeq uint64 `json:"first_seq"`
	// PrevLastSeq is the last seq kept of the epoch before; 0 for the first.
	PrevLastSeq uint64 `json:"prev_last_seq"`
}

// Stream is stream.json: the identity of a log, for ever.
type Stream struct {
	Version int     `json:"version"`
	ID      string  `json:"stream"` // 32 lower-case hex digits, random
	Epochs  []Epoch `json:"epochs"`
}

// Current returns the epoch that is being written.
func (s *Stream) Current() Epoch { return s.Epochs[len(s.Epochs)-1] }

// lists says whether e is one of the stream's epochs.
func (s *Stream) lists(e uint64) bool {
	return slices.ContainsFunc(s.Epochs, func(x Epoch) bool { return x.Epoch == e })
}

// openStream reads stream.json. When it is not there and create is set, it makes
// a new stream whose first epoch begins at firstSeq.
func openStream(fs vfs.FS, dir string, firstSeq uint64, create bool) (*Stream, error) {
	s, err := readStream(fs, dir)
	if err == nil || !oserror.IsNotExist(err) {
		return s, err
	}
	if !create {
		return nil, fmt.Errorf("%s is missing, but there are log files: restore it, or move the folder away", fs.PathJoin(dir, streamFile))
	}
	// The log's folders must survive before the first event can.
	if err := syncAncestors(fs, dir); err != nil {
		return nil, err
	}
	id := make([]byte, streamIDSize)
	if _, err := rand.Read(id); err != nil {
		return nil, fmt.Errorf("stream id: %w", err)
	}
	s = &Stream{Version: 1, ID: hex.EncodeToString(id), Epochs: []Epoch{{Epoch: 1, FirstSeq: firstSeq}}}
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return nil, err
	}
	return s, replaceFile(fs, dir, streamFile, append(b, '\n'))
}

func readStream(fs vfs.FS, dir string) (*Stream, error) {
	b, err := readFile(fs, fs.PathJoin(dir, streamFile))
	if err != nil {
		return nil, err
	}
	var s Stream
	if err := json.Unmarshal(b, &s); err != nil {
		return nil, fmt.Errorf("%s: %w", fs.PathJoin(dir, streamFile), err)
	}
	if s.Version != 1 {
		return nil, fmt.Errorf("%s: version %d: %w", fs.PathJoin(dir, streamFile), s.Version, ErrVersion)
	}
	if len(s.ID) != 2*streamIDSize || len(s.Epochs) == 0 {
		return nil, fmt.Errorf("%s: %w", fs.PathJoin(dir, streamFile), errors.New("no stream id or no epoch"))
	}
	last := uint64(0)
	for _, e := range s.Epochs {
		if e.Epoch <= last {
			return nil, fmt.Errorf("%s: epoch %d stands after %d: they begin at 1 and ascend", fs.PathJoin(dir, streamFile), e.Epoch, last)
		}
		last = e.Epoch
	}
	return &s, nil
}
