package segmentlog

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
)

// TestEveryRecordIsProvenFromOneSegmentAndFooters proves each record for each tree
// that a later segment ends with.
func TestEveryRecordIsProvenFromOneSegmentAndFooters(t *testing.T) {
	var segments []*Segment
	frontier := ranges.NewEmptyRange(0)
	first := 1
	for _, n := range []int{1, 7, 20, 5, 31, 1, 64, 3} {
		b, f := testSegment(t, first, n, frontier, 2<<10)
		s, err := openBytes(b)
		if err != nil {
			t.Fatal(err)
		}
		segments = append(segments, s)
		if frontier, err = f.TreeAfter(); err != nil {
			t.Fatal(err)
		}
		first += n
	}
	proofs := 0
	for i, s := range segments {
		f := s.Footer()
		for seq := f.Name.FirstSeq; seq <= f.Name.LastSeq; seq++ {
			p, err := NewProver(s, seq)
			if err != nil {
				t.Fatal(err)
			}
			for j := i; j < len(segments); j++ {
				if j > i {
					if err := p.Extend(segments[j].Footer()); err != nil {
						t.Fatal(err)
					}
				}
				got, err := p.Proof()
				if err != nil {
					t.Fatalf("seq %d for the tree of segment %d: %v", seq, j, err)
				}
				leaf, err := LeafHash(got.Record)
				if err != nil || !bytes.Equal(leaf[:], got.LeafHash) || !bytes.Equal(got.Root, segments[j].Footer().Root) || got.Leaf != seq-1 {
					t.Fatalf("seq %d for the tree of segment %d: %+v", seq, j, got)
				}
				proofs++
			}
		}
	}
	t.Log(proofs, "proofs")
}

func TestAProofOfAnythingElseFails(t *testing.T) {
	b, _ := testSegment(t, 1, 21, ranges.NewEmptyRange(0), 1<<10)
	s, err := openBytes(b)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := NewProver(s, 22); !errors.Is(err, ErrNoRecord) {
		t.Fatal(err)
	}
	p, err := NewProver(s, 11)
	if err != nil {
		t.Fatal(err)
	}
	good, err := p.Proof()
	if err != nil {
		t.Fatal(err)
	}
	change := map[string]func(p *Proof){
		"leaf index": func(p *Proof) { p.Leaf++ },
		"tree size":  func(p *Proof) { p.TreeSize = 1 << 40 },
		"no tree":    func(p *Proof) { p.TreeSize = 0 },
		"leaf hash":  func(p *Proof) { p.LeafHash[3]++ },
		"path":       func(p *Proof) { p.Path[1][0]++ },
		"short path": func(p *Proof) { p.Path = p.Path[1:] },
		"long path":  func(p *Proof) { p.Path = append(p.Path, p.Root) },
		"root":       func(p *Proof) { p.Root[0]++ },
		"no root":    func(p *Proof) { p.Root = nil },
	}
	for what, f := range change {
		bad := *good
		bad.LeafHash, bad.Root = bytes.Clone(good.LeafHash), bytes.Clone(good.Root)
		bad.Path = nil
		for _, h := range good.Path {
			bad.Path = append(bad.Path, bytes.Clone(h))
		}
		if f(&bad); bad.Check() == nil {
			t.Errorf("%s: the proof still holds", what)
		}
	}
	_, other := testSegment(t, 22, 3, ranges.NewEmptyRange(0), 1<<10)
	if err := p.Extend(other); err == nil {
		t.Error("a segment with another beginning extends the tree")
	}
	forged := *other
	forged.FirstLeaf, forged.Root = 21, bytes.Repeat([]byte{1}, HashSize)
	if err := p.Extend(&forged); err == nil {
		t.Error(fmt.Sprint("a root that does not follow: ", err))
	}
}
