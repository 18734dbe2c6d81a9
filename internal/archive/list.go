package archive

import (
	"context"
	"encoding/hex"
	"time"

	"github.com/cistern-archive/cistern/segmentlog"
)

// Info is what a footer says, in JSON and in the units of people.
type Info struct {
	File           string    `json:"file"`
	Name           string    `json:"name"`
	Stream         string    `json:"stream"`
	Epoch          uint64    `json:"epoch"`
	Generation     uint64    `json:"generation"`
	FirstSeq       uint64    `json:"first_seq"`
	LastSeq        uint64    `json:"last_seq"`
	FirstWitnessed time.Time `json:"first_witnessed"`
	LastWitnessed  time.Time `json:"last_witnessed"`
	Records        uint64    `json:"records"`
	Size           int64     `json:"size"` // bytes of the file
	Raw            int64     `json:"raw"`  // bytes of header and records
	Superseded     bool      `json:"superseded,omitempty"`

	*Detail
}

// Detail is the rest of a footer, for inspect.
type Detail struct {
	FirstLeaf   uint64            `json:"first_leaf"`
	Frontier    []string          `json:"frontier"` // compact range of the leaves before
	Leaves      []string          `json:"leaves"`   // of this segment's own
	TreeSize    uint64            `json:"tree_size"`
	Root        string            `json:"root"`
	Header      Span              `json:"header"`
	Blocks      []BlockInfo       `json:"blocks"`
	Kinds       map[string]uint64 `json:"kinds"`
	Collections map[string]uint64 `json:"collections"` // ops; "" counts those beyond 4,096 names
}

// Span is a zstd frame of a file.
type Span struct {
	Offset int64  `json:"offset"`
	Wire   int64  `json:"wire"` // encoded length, bytes
	Raw    int64  `json:"raw"`  // decoded length, bytes
	SHA256 string `json:"sha256"`
}

// BlockInfo is a block of records.
type BlockInfo struct {
	Span
	Records        uint64 `json:"records"`
	FirstSeq       uint64 `json:"first_seq"`
	LastSeq        uint64 `json:"last_seq"`
	FirstWitnessed int64  `json:"first_witnessed"` // Unix µs
	LastWitnessed  int64  `json:"last_witnessed"`
}

// Inspect opens a segment and says what its footer does.
func (f *File) Inspect(ctx context.Context) (*Info, error) {
	seg, err := f.Open(ctx)
	if err != nil {
		return nil, err
	}
	defer seg.Close() // opened for reading
	return inspect(f.Place, seg.Size(), seg.Footer()), nil
}

func inspect(place string, size int64, f *segmentlog.Footer) *Info {
	info := &Info{
		File: place, Name: f.Name.String(), Stream: f.Stream, Epoch: f.Name.Epoch, Generation: f.Name.Generation,
		FirstSeq: f.Name.FirstSeq, LastSeq: f.Name.LastSeq, Records: f.Count, Size: size, Raw: f.Header.Raw,
		FirstWitnessed: time.UnixMicro(f.FirstWitnessed).UTC(), LastWitnessed: time.UnixMicro(f.LastWitnessed).UTC(),
	}
	d := &Detail{
		FirstLeaf: f.FirstLeaf, Frontier: hexAll(f.Frontier), Leaves: hexAll(f.Leaves), TreeSize: f.FirstLeaf + f.Count,
		Root: hex.EncodeToString(f.Root), Header: spanOf(&f.Header), Kinds: f.Kinds, Collections: f.Collections,
	}
	for i := range f.Blocks {
		b := &f.Blocks[i]
		info.Raw += b.Raw
		d.Blocks = append(d.Blocks, BlockInfo{Span: spanOf(&b.Span), Records: b.Count, FirstSeq: b.FirstSeq, LastSeq: b.LastSeq,
			FirstWitnessed: b.FirstWitnessed, LastWitnessed: b.LastWitnessed})
	}
	info.Detail = d
	return info
}

func spanOf(s *segmentlog.Span) Span {
	return Span{Offset: s.Offset, Wire: s.Wire, Raw: s.Raw, SHA256: hex.EncodeToString(s.SHA256[:])}
}

func hexAll(hashes [][]byte) []string {
	out := make([]string, len(hashes))
	for i, h := range hashes {
		out[i] = hex.EncodeToString(h)
	}
	return out
}
