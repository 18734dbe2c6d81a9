package ship

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/cistern-archive/cistern/segmentlog"
)

// Entry is one line of a catalog: a segment, and what can be known without opening it.
type Entry struct {
	Name           segmentlog.SegmentName
	Bytes          int64
	SHA256         [32]byte
	RawBytes       int64 // decoded, header included
	FirstWitnessed int64 // Unix µs
	LastWitnessed  int64
	Records        uint64
	FirstLeaf      uint64
	Root           [32]byte // of the tree up to the last record
	Kinds          map[string]uint64
}

// entryLine is an Entry as it is written; docs/archive.md. Readers ignore members that
// they do not know.
type entryLine struct {
	Name           string            `json:"name"`
	Key            string            `json:"key"`
	Bytes          int64             `json:"bytes"`
	SHA256         string            `json:"sha256"`
	RawBytes       int64             `json:"raw_bytes"`
	Epoch          uint64            `json:"epoch"`
	Generation     uint64            `json:"generation"`
	FirstSeq       uint64            `json:"first_seq"`
	LastSeq        uint64            `json:"last_seq"`
	FirstWitnessed string            `json:"first_witnessed"`
	LastWitnessed  string            `json:"last_witnessed"`
	Records        uint64            `json:"records"`
	FirstLeaf      uint64            `json:"first_leaf"`
	Root           string            `json:"root"`
	Kinds          map[string]uint64 `json:"kinds"`
}

const microFormat = "2006-01-02T15:04:05.000000Z"

// NewEntry describes a segment of size bytes and the given hash.
func NewEntry(f *segmentlog.Footer, size int64, sum [32]byte) (Entry, error) {
	e := Entry{
		Name: f.Name, Bytes: size, SHA256: sum, RawBytes: f.Header.Raw, FirstWitnessed: f.FirstWitnessed, LastWitnessed: f.LastWitnessed,
		Records: f.Count, FirstLeaf: f.FirstLeaf, Kinds: f.Kinds,
	}
	for i := range f.Blocks {
		e.RawBytes += f.Blocks[i].Raw
	}
	if copy(e.Root[:], f.Root) != len(e.Root) || len(f.Root) != len(e.Root) {
		return e, fmt.Errorf("%s: a root of %d bytes", f.Name, len(f.Root))
	}
	return e, nil
}

// Key is where the segment stands in the bucket.
func (e *Entry) Key() string { return SegmentKey(e.FirstWitnessed, e.Name) }

// Day is whose catalog the entry stands in.
func (e *Entry) Day() Day { return DayOf(e.FirstWitnessed) }

// Archived is the entry as a log takes it.
func (e *Entry) Archived() segmentlog.Archived {
	return segmentlog.Archived{
		Name: e.Name, Key: e.Key(), Size: e.Bytes, FirstLeaf: e.FirstLeaf, Count: e.Records, LastWitnessed: e.LastWitnessed, Root: bytes.Clone(e.Root[:]),
	}
}

// same says whether both describe the same bytes.
func (e *Entry) same(o *Entry) bool {
	return e.Name == o.Name && e.Bytes == o.Bytes && e.SHA256 == o.SHA256 && e.FirstWitnessed == o.FirstWitnessed
}

func (e *Entry) append(dst []byte) []byte {
	b, _ := json.Marshal(entryLine{ // numbers and strings
		Name: e.Name.String(), Key: e.Key(), Bytes: e.Bytes, SHA256: hex.EncodeToString(e.SHA256[:]), RawBytes: e.RawBytes,
		Epoch: e.Name.Epoch, Generation: e.Name.Generation, FirstSeq: e.Name.FirstSeq, LastSeq: e.Name.LastSeq,
		FirstWitnessed: time.UnixMicro(e.FirstWitnessed).UTC().Format(microFormat),
		LastWitnessed:  time.UnixMicro(e.LastWitnessed).UTC().Format(microFormat),
		Records:        e.Records, FirstLeaf: e.FirstLeaf, Root: hex.EncodeToString(e.Root[:]), Kinds: e.Kinds,
	})
	return append(append(dst, b...), '\n')
}

// parseEntry reads a line that append wrote.
func parseEntry(line []byte) (Entry, error) {
	var l entryLine
	var e Entry
	if err := json.Unmarshal(line, &l); err != nil {
		return e, err
	}
	name, ok := segmentlog.ParseSegmentName(l.Name)
	if !ok {
		return e, fmt.Errorf("%q is not the name of a segment", l.Name)
	}
	e = Entry{Name: name, Bytes: l.Bytes, RawBytes: l.RawBytes, Records: l.Records, FirstLeaf: l.FirstLeaf, Kinds: l.Kinds}
	var err error
	e.FirstWitnessed, err = parseMicro(l.FirstWitnessed, err)
	e.LastWitnessed, err = parseMicro(l.LastWitnessed, err)
	err = parseHash(&e.SHA256, l.SHA256, err)
	err = parseHash(&e.Root, l.Root, err)
	switch {
	case err != nil:
	case e.Bytes <= 0 || e.RawBytes <= 0 || e.Records == 0 || e.FirstLeaf+e.Records < e.FirstLeaf:
		err = errors.New("an empty segment")
	case l.Epoch != name.Epoch || l.Generation != name.Generation || l.FirstSeq != name.FirstSeq || l.LastSeq != name.LastSeq || l.Key != e.Key():
		err = errors.New("it does not fit its name")
	case e.LastWitnessed < e.FirstWitnessed || name.LastSeq-name.FirstSeq < e.Records-1:
		err = errors.New("its bounds do not fit")
	}
	if err != nil {
		return e, fmt.Errorf("%s: %w", l.Name, err)
	}
	return e, nil
}

func parseMicro(s string, before error) (int64, error) {
	if before != nil {
		return 0, before
	}
	t, err := time.Parse(microFormat, s)
	return t.UnixMicro(), err
}

func parseHash(dst *[32]byte, s string, before error) error {
	if before != nil {
		return before
	}
	b, err := hex.DecodeString(s)
	if err == nil && len(b) != len(dst) {
		err = fmt.Errorf("a hash of %d bytes", len(b))
	}
	if err == nil {
		copy(dst[:], b)
	}
	return err
}
