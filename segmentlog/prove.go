package segmentlog

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/transparency-dev/merkle/compact"
	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
)

// ErrNoRecord says that no record has the seq that was asked for.
var ErrNoRecord = errors.New("no record has this seq")

// Proof is an RFC 6962 inclusion proof (section 2.1.1): that one record is a leaf
// of the tree of TreeSize leaves whose root is Root. See docs/format/tree.md.
type Proof struct {
	Stream   string
	Seq      uint64
	Leaf     uint64 // index of the leaf, from 0
	TreeSize uint64
	LeafHash []byte
	Path     [][]byte // sibling hashes from the leaf up
	Root     []byte
	Record   []byte // the record's encoding
}

// Check says whether the root follows from the leaf hash and the path. It does not
// look at the record: compare LeafHash with LeafHash(Record).
func (p *Proof) Check() error {
	if p.TreeSize > MaxSeq || p.Leaf >= p.TreeSize {
		return fmt.Errorf("proof: leaf %d of a tree of %d", p.Leaf, p.TreeSize)
	}
	if err := proof.VerifyInclusion(rfc6962.DefaultHasher, p.Leaf, p.TreeSize, p.LeafHash, p.Path, p.Root); err != nil {
		return fmt.Errorf("proof: %w", err)
	}
	return nil
}

// Prover makes the inclusion proof of one record from the segment that holds it
// and the footers of the segments that follow.
type Prover struct {
	p     Proof
	tree  *compact.Range // of all leaves so far
	nodes map[compact.NodeID][]byte
}

// NewProver reads and checks all of s, which holds seq: ErrNoRecord (wrapped) when
// it does not.
func NewProver(s *Segment, seq uint64) (*Prover, error) {
	if err := s.CheckHeader(); err != nil {
		return nil, err
	}
	f := s.Footer()
	hashes, record, at, err := readLeaves(s, seq)
	if err != nil {
		return nil, err
	}
	if record == nil {
		return nil, fmt.Errorf("%s: %w: %d", s.Name(), ErrNoRecord, seq)
	}
	leaf := hashes[at]
	p := &Prover{
		p:     Proof{Stream: f.Stream, Seq: seq, Leaf: f.FirstLeaf + uint64(at), LeafHash: leaf[:], Record: record},
		nodes: map[compact.NodeID][]byte{},
	}
	if p.tree, err = rangeOf(0, f.FirstLeaf, f.Frontier); err != nil {
		return nil, fmt.Errorf("%s: %w", s.Name(), err)
	}
	p.keepRange(p.tree)
	for i := range hashes {
		if err := p.tree.Append(bytes.Clone(hashes[i][:]), p.keep); err != nil {
			return nil, fmt.Errorf("%s: tree: %w", s.Name(), err)
		}
	}
	if root, err := rootOf(p.tree); err != nil || !bytes.Equal(root, f.Root) {
		return nil, s.corrupt(f.wireEnd(), fmt.Errorf("the records give the root %x, the footer says %x", root, f.Root))
	}
	return p, nil
}

// readLeaves returns all leaves of a segment, the encoding of the record of seq
// (nil when there is none) and its place among them.
func readLeaves(s *Segment, seq uint64) (all [][HashSize]byte, record []byte, at int, err error) {
	var scratch, raw []byte
	for rec, err := range s.Records(0) {
		if err != nil {
			return nil, nil, 0, err
		}
		raw = AppendRecord(raw[:0], rec) // deterministic: the bytes that were decoded
		var leaf [HashSize]byte
		if leaf, _, scratch, err = leafHash(raw, scratch); err != nil {
			return nil, nil, 0, fmt.Errorf("%s: seq %d: %w", s.Name(), rec.Seq, err)
		}
		if rec.Seq == seq {
			record, at = bytes.Clone(raw), len(all)
		}
		all = append(all, leaf)
	}
	return all, record, at, nil
}

// Extend goes on to the tree of the next segment, which must begin where the last
// one ended.
func (p *Prover) Extend(f *Footer) error {
	if f.Stream != p.p.Stream {
		return fmt.Errorf("segment %s is of stream %s, not %s", f.Name, f.Stream, p.p.Stream)
	}
	if f.FirstLeaf != p.tree.End() {
		return fmt.Errorf("segment %s begins at leaf %d, the tree has %d leaves", f.Name, f.FirstLeaf, p.tree.End())
	}
	own, err := rangeOf(f.FirstLeaf, f.FirstLeaf+f.Count, f.Leaves)
	if err != nil {
		return fmt.Errorf("segment %s: %w", f.Name, err)
	}
	p.keepRange(own)
	if err := p.tree.AppendRange(own, p.keep); err != nil {
		return fmt.Errorf("segment %s: tree: %w", f.Name, err)
	}
	if root, err := rootOf(p.tree); err != nil || !bytes.Equal(root, f.Root) {
		return fmt.Errorf("segment %s: its root %x does not follow from the one before (%x): %w", f.Name, f.Root, root, errFooter)
	}
	return nil
}

// TreeSize is how many leaves the tree has so far.
func (p *Prover) TreeSize() uint64 { return p.tree.End() }

// keepRange keeps the nodes that a compact range consists of.
func (p *Prover) keepRange(r *compact.Range) {
	hashes := r.Hashes()
	for i, id := range compact.RangeNodes(r.Begin(), r.End(), nil) {
		p.keep(id, hashes[i])
	}
}

// keep keeps a node when its parent is above the leaf and it is not: no other node
// is ever part of the path, but for those of the tree's right border.
func (p *Prover) keep(id compact.NodeID, hash []byte) {
	if p.p.Leaf>>(id.Level+1) == id.Index>>1 && p.p.Leaf>>id.Level != id.Index {
		p.nodes[id] = hash
	}
}

// Proof returns the proof for the tree so far, after checking it.
func (p *Prover) Proof() (*Proof, error) {
	out := p.p
	out.TreeSize = p.tree.End()
	need, err := proof.Inclusion(out.Leaf, out.TreeSize)
	if err != nil {
		return nil, fmt.Errorf("proof: %w", err)
	}
	border := map[compact.NodeID][]byte{}
	for i, id := range compact.RangeNodes(0, out.TreeSize, nil) {
		border[id] = p.tree.Hashes()[i]
	}
	var hashes [][]byte
	for _, id := range need.IDs {
		h, ok := p.nodes[id]
		if !ok {
			h, ok = border[id]
		}
		if !ok {
			return nil, fmt.Errorf("proof: node %d of level %d is not known", id.Index, id.Level)
		}
		hashes = append(hashes, h)
	}
	if out.Path, err = need.Rehash(hashes, rfc6962.DefaultHasher.HashChildren); err != nil {
		return nil, fmt.Errorf("proof: %w", err)
	}
	if out.Root, err = rootOf(p.tree); err != nil {
		return nil, fmt.Errorf("proof: %w", err)
	}
	return &out, out.Check()
}
