package archive

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/cistern-archive/cistern/segmentlog"
)

func TestEveryEventIsProvenForTheNewestTree(t *testing.T) {
	s := theSample(t)
	src := find(t, s.dir)
	root := mustVerify(t, src, VerifyOptions{}).Root
	for i, seq := range s.seqs {
		if i%7 != 0 && i != len(s.seqs)-1 {
			continue
		}
		p, err := Prove(context.Background(), src, seq)
		if err != nil {
			t.Fatal(err)
		}
		b, err := p.JSON()
		if err != nil {
			t.Fatal(err)
		}
		if p, err = ParseProof(b); err != nil {
			t.Fatal(err)
		}
		if err := p.Check(Evidence{Root: root, Frame: s.frames[i]}); err != nil {
			t.Fatalf("seq %d: %v", seq, err)
		}
		if p.LeafIndex != uint64(i) || p.TreeSize != uint64(len(s.seqs)) {
			t.Fatalf("%+v", p)
		}
	}
}

// TestProvingReadsOneSegmentAndFooters damages every block but those of the segment
// that is proven from.
func TestProvingReadsOneSegmentAndFooters(t *testing.T) {
	dir, files := theSample(t).copyOf(t)
	src := find(t, dir)
	for i, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case i < 1: // earlier ones are not opened at all
			b = b[:10]
		case i > 1:
			for j := range 100 {
				b[j] ^= 0xff
			}
		}
		if err := os.WriteFile(f, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p, err := Prove(context.Background(), src, src.Files[1].Name.FirstSeq+1)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Check(Evidence{}); err != nil {
		t.Fatal(err)
	}
	if _, err := Prove(context.Background(), src, 1<<50); err == nil {
		t.Error("a seq that no segment has is proven")
	}
	if _, err := Prove(context.Background(), &Source{Files: []*File{src.Files[1], src.Files[3]}}, src.Files[1].Name.FirstSeq); err == nil ||
		!strings.Contains(err.Error(), src.Files[3].Place) {
		t.Errorf("a proof across a missing segment: %v", err)
	}
}

func proofOf(t testing.TB, i int) *Proof {
	s := theSample(t)
	p, err := Prove(context.Background(), find(t, s.dir), s.seqs[i])
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestAChangedProofDoesNotHold(t *testing.T) {
	s := theSample(t)
	good := proofOf(t, 20)
	b, err := good.JSON()
	if err != nil {
		t.Fatal(err)
	}
	zero := strings.Repeat("00", 32)
	for what, change := range map[string]func(p *Proof){
		"seq": func(p *Proof) { p.Seq++ }, "leaf index": func(p *Proof) { p.LeafIndex++ }, "tree size": func(p *Proof) { p.TreeSize *= 2 },
		"leaf hash": func(p *Proof) { p.LeafHash = zero }, "root": func(p *Proof) { p.Root = zero }, "path": func(p *Proof) { p.Path[2] = zero },
		"path too long": func(p *Proof) { p.Path = append(p.Path, zero) }, "record seq": func(p *Proof) { p.Fields.Seq++; p.Seq++ },
		"witnessed": func(p *Proof) { p.Fields.Witnessed++ }, "negative time": func(p *Proof) { p.Fields.Witnessed = -1 },
		"did": func(p *Proof) { p.Fields.DID += "x" }, "host": func(p *Proof) { p.Fields.Host = "" }, "key": func(p *Proof) { p.Fields.Key = nil },
		"frame": func(p *Proof) { p.Fields.FrameSHA256 = zero }, "short hash": func(p *Proof) { p.Root = p.Root[2:] },
		"upper case": func(p *Proof) { p.Root = strings.ToUpper(p.Root) }, "bad utf-8": func(p *Proof) { p.Fields.DID = "\xff" },
	} {
		var p Proof
		if err := json.Unmarshal(b, &p); err != nil {
			t.Fatal(err)
		}
		if err := p.Check(Evidence{}); err != nil {
			t.Fatal(err)
		}
		if change(&p); p.Check(Evidence{}) == nil {
			t.Errorf("%s: the proof still holds", what)
		}
	}
	for what, e := range map[string]Evidence{
		"another root": {Root: zero}, "another frame": {Frame: s.frames[21]}, "no record": {Record: []byte("x")},
		"another record": {Record: segmentlog.AppendRecord(nil, &segmentlog.Record{Seq: good.Seq, DID: []byte("did:x")})},
	} {
		if good.Check(e) == nil {
			t.Errorf("%s: the proof holds", what)
		}
	}
	for _, bad := range []string{"", "{}", "[]", `{"seq":1,"unknown":2}`, string(b) + "{}", `{"seq":-1}`} {
		if p, err := ParseProof([]byte(bad)); err == nil && p.Check(Evidence{}) == nil {
			t.Errorf("%q is a proof", bad)
		}
	}
}

func TestAProofHoldsWithTheRecordItself(t *testing.T) {
	s := theSample(t)
	p := proofOf(t, 33)
	src := find(t, s.dir)
	var raw []byte
	for _, f := range src.Files {
		seg, err := f.Open(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		for rec, err := range seg.Records(0) {
			if err != nil {
				t.Fatal(err)
			}
			if rec.Seq == p.Seq {
				raw = segmentlog.AppendRecord(nil, rec)
			}
		}
		seg.Close()
	}
	if err := p.Check(Evidence{Record: raw}); err != nil {
		t.Fatal(err)
	}
	if p.Check(Evidence{Record: append(raw, 0)}) == nil {
		t.Error("a byte more")
	}
}

func TestASeqBetweenRecordsIsNotProven(t *testing.T) {
	src := find(t, theSample(t).files[0])
	src.Files[0].Name.LastSeq += 5 // as if the file said so
	_, err := Prove(context.Background(), src, src.Files[0].Name.LastSeq)
	var c *segmentlog.CorruptError
	if !errors.As(err, &c) {
		t.Fatal(err)
	}
}

// FuzzCheckProof: whatever is read, checking it ends, and what holds is the proof
// of the record's fields for its root.
func FuzzCheckProof(f *testing.F) {
	b, err := proofOf(f, 5).JSON()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte(`{"tree_size":1,"record":{"seq":1,"frame_sha256":"` + strings.Repeat("00", 32) + `"}}`))
	f.Add([]byte(fmt.Sprintf(`{"leaf_index":18446744073709551615,"tree_size":18446744073709551615,"path":[%q]}`, strings.Repeat("00", 32))))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := ParseProof(b)
		if err != nil || p.Check(Evidence{}) != nil {
			return
		}
		again, err := p.JSON()
		if err != nil {
			t.Fatal(err)
		}
		q, err := ParseProof(again)
		if err != nil || q.Check(Evidence{Root: p.Root}) != nil {
			t.Fatalf("a proof that holds does not hold again: %s", again)
		}
		q.Fields.HostFloor++
		if q.Check(Evidence{}) == nil {
			t.Fatal("it holds for another record too")
		}
	})
}
