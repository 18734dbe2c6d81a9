package archive

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"sort"

	"github.com/cistern-archive/cistern/segmentlog"
)

// Proof is an inclusion proof in JSON (docs/format/tree.md): that one record is a
// leaf of the log's tree. Hashes are lower-case hexadecimal.
type Proof struct {
	Stream    string   `json:"stream"`
	Seq       uint64   `json:"seq"`
	LeafIndex uint64   `json:"leaf_index"`
	TreeSize  uint64   `json:"tree_size"`
	Fields    Fields   `json:"record"`
	LeafHash  string   `json:"leaf_hash"`
	Path      []string `json:"path"`
	Root      string   `json:"root"`
}

// Fields are what a leaf hashes: fields 0 to 8 of the record, and the SHA-256 of
// the frame as it was served.
type Fields struct {
	Seq         uint64  `json:"seq"`
	Witnessed   int64   `json:"witnessed"` // Unix µs
	DID         string  `json:"did"`
	Host        string  `json:"host"`
	HostEpoch   uint64  `json:"host_epoch"`
	HostSeq     uint64  `json:"host_seq"`
	HostFloor   uint64  `json:"host_floor"`
	Verdict     uint64  `json:"verdict"`
	Key         *string `json:"key"` // multicodec public key, null for none
	FrameSHA256 string  `json:"frame_sha256"`
}

// maxProof bounds a proof in JSON, in bytes.
const maxProof = 1 << 20

// Prove proves the record of seq for the tree that the newest segment of an
// unbroken row of them ends with. Only the segment that holds it is decoded, and
// only the footers of those after it are read.
func Prove(ctx context.Context, src *Source, seq uint64) (*Proof, error) {
	i := sort.Search(len(src.Files), func(i int) bool { return src.Files[i].Name.LastSeq >= seq })
	if i == len(src.Files) || src.Files[i].Name.FirstSeq > seq {
		return nil, fmt.Errorf("seq %d is in none of the %d segments", seq, len(src.Files))
	}
	seg, err := src.Files[i].Open(ctx)
	if err != nil {
		return nil, err
	}
	defer seg.Close() // opened for reading
	p, err := segmentlog.NewProver(seg.Segment, seq)
	if err != nil {
		return nil, err
	}
	for _, f := range src.Files[i+1:] {
		if err := extend(ctx, p, f); err != nil {
			return nil, err
		}
	}
	proof, err := p.Proof()
	if err != nil {
		return nil, err
	}
	return newProof(proof)
}

func extend(ctx context.Context, p *segmentlog.Prover, f *File) error {
	seg, err := f.Open(ctx)
	if err != nil {
		return err
	}
	defer seg.Close() // opened for reading
	if err := p.Extend(seg.Footer()); err != nil {
		return fmt.Errorf("%s: %w", f.Place, err)
	}
	return nil
}

func newProof(p *segmentlog.Proof) (*Proof, error) {
	fields, err := fieldsOf(p.Record)
	if err != nil {
		return nil, err
	}
	out := &Proof{
		Stream: p.Stream, Seq: p.Seq, LeafIndex: p.Leaf, TreeSize: p.TreeSize, Fields: *fields,
		LeafHash: hex.EncodeToString(p.LeafHash), Path: []string{}, Root: hex.EncodeToString(p.Root),
	}
	for _, h := range p.Path {
		out.Path = append(out.Path, hex.EncodeToString(h))
	}
	return out, nil
}

// ParseProof reads a proof; unknown fields are an error, since they would not be
// checked.
func ParseProof(b []byte) (*Proof, error) {
	if len(b) > maxProof {
		return nil, fmt.Errorf("proof: %d bytes, at most %d", len(b), maxProof)
	}
	var p Proof
	if err := strictJSON(b, &p); err != nil {
		return nil, fmt.Errorf("proof: %w", err)
	}
	return &p, nil
}

// Evidence is what a proof may be held against. Empty fields are not looked at.
type Evidence struct {
	Root   string // hexadecimal, from a place that is trusted
	Record []byte // the record's CBOR encoding
	Frame  []byte // the frame as served
}

// Check says whether the proof holds: the leaf is the hash of the record's fields,
// and the root follows from it. A proof says nothing by itself about where its
// root comes from.
func (p *Proof) Check(e Evidence) error {
	leaf, err := p.Fields.leaf()
	if err != nil {
		return err
	}
	if hex.EncodeToString(leaf[:]) != p.LeafHash {
		return fmt.Errorf("proof: the record's fields hash to %x, the leaf is %s", leaf, p.LeafHash)
	}
	if p.Fields.Seq != p.Seq {
		return fmt.Errorf("proof: it is of seq %d, its record of seq %d", p.Seq, p.Fields.Seq)
	}
	if err := p.checkPath(leaf[:]); err != nil {
		return err
	}
	if e.Root != "" && e.Root != p.Root {
		return fmt.Errorf("proof: its root is %s, not %s", p.Root, e.Root)
	}
	if e.Frame != nil && sha256Hex(e.Frame) != p.Fields.FrameSHA256 {
		return fmt.Errorf("proof: the frame's SHA-256 is %s, the proof says %s", sha256Hex(e.Frame), p.Fields.FrameSHA256)
	}
	if e.Record != nil {
		return p.checkRecord(e.Record)
	}
	return nil
}

func (p *Proof) checkPath(leaf []byte) error {
	tree := segmentlog.Proof{Leaf: p.LeafIndex, TreeSize: p.TreeSize, LeafHash: leaf}
	var err error
	if tree.Root, err = parseHash(p.Root); err != nil {
		return fmt.Errorf("proof: root: %w", err)
	}
	if len(p.Path) > 64 { // a tree has fewer levels
		return fmt.Errorf("proof: a path of %d hashes", len(p.Path))
	}
	for i, s := range p.Path {
		h, err := parseHash(s)
		if err != nil {
			return fmt.Errorf("proof: hash %d of the path: %w", i, err)
		}
		tree.Path = append(tree.Path, h)
	}
	return tree.Check()
}

// checkRecord compares a record's bytes with the fields, by way of the leaf.
func (p *Proof) checkRecord(raw []byte) error {
	var rec segmentlog.Record
	n, err := segmentlog.DecodeRecord(raw, &rec)
	if err == nil && n != len(raw) {
		err = errors.New("bytes behind its end")
	}
	if err != nil {
		return fmt.Errorf("the record: %w", err)
	}
	leaf, err := segmentlog.LeafHash(raw)
	if err != nil {
		return fmt.Errorf("the record: %w", err)
	}
	if hex.EncodeToString(leaf[:]) != p.LeafHash {
		return fmt.Errorf("proof: the record given (seq %d) hashes to %x, the leaf is %s", rec.Seq, leaf, p.LeafHash)
	}
	return nil
}

// fieldsOf reads the fields of a record's encoding.
func fieldsOf(raw []byte) (*Fields, error) {
	var rec segmentlog.Record
	if _, err := segmentlog.DecodeRecord(raw, &rec); err != nil {
		return nil, err
	}
	f := &Fields{
		Seq: rec.Seq, Witnessed: rec.Witnessed, DID: string(rec.DID), Host: string(rec.Host), HostEpoch: rec.HostEpoch,
		HostSeq: rec.HostSeq, HostFloor: rec.HostFloor, Verdict: uint64(rec.Verdict), FrameSHA256: sha256Hex(rec.Frame),
	}
	if rec.Digest != nil {
		f.FrameSHA256 = hex.EncodeToString(rec.Digest)
	}
	if rec.Key != nil {
		key := hex.EncodeToString(rec.Key)
		f.Key = &key
	}
	return f, nil
}

// leaf hashes the fields: those of a record whose frame was removed.
func (f *Fields) leaf() (leaf [segmentlog.HashSize]byte, err error) {
	rec := segmentlog.Record{
		Seq: f.Seq, Witnessed: f.Witnessed, DID: []byte(f.DID), Host: []byte(f.Host), HostEpoch: f.HostEpoch,
		HostSeq: f.HostSeq, HostFloor: f.HostFloor, Verdict: segmentlog.Verdict(f.Verdict),
	}
	if rec.Digest, err = parseHash(f.FrameSHA256); err != nil {
		return leaf, fmt.Errorf("proof: frame_sha256: %w", err)
	}
	if f.Key != nil {
		if rec.Key, err = hex.DecodeString(*f.Key); err != nil {
			return leaf, fmt.Errorf("proof: key: %w", err)
		}
	}
	raw := segmentlog.AppendRecord(nil, &rec)
	if _, err := segmentlog.DecodeRecord(raw, &rec); err != nil { // no record can be so
		return leaf, fmt.Errorf("proof: %w", err)
	}
	return segmentlog.LeafHash(raw)
}

// JSON is the proof in indented JSON, with a newline.
func (p *Proof) JSON() ([]byte, error) {
	b, err := json.MarshalIndent(p, "", "  ")
	return append(b, '\n'), err
}
