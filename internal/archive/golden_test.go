package archive

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"
)

// golden holds the vectors of docs/format/segment.md and tree.md.
var golden = filepath.Join("..", "..", "segmentlog", "testdata", "segment")

func TestTheGoldenProofIsMadeAndHolds(t *testing.T) {
	want, err := os.ReadFile(filepath.Join(golden, "proof.json"))
	if err != nil {
		t.Fatal(err)
	}
	src := find(t, golden)
	p, err := Prove(context.Background(), src, 1_000_000_004)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := p.JSON(); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s\nwant\n%s", got, want)
	}
	if p, err = ParseProof(want); err != nil {
		t.Fatal(err)
	}
	if err := p.Check(Evidence{Root: mustVerify(t, src, VerifyOptions{}).Root}); err != nil {
		t.Error(err)
	}
}

// TestErasedAndUnreadableRecordsAreShown reads the golden segment, which has both.
func TestErasedAndUnreadableRecordsAreShown(t *testing.T) {
	erased, unreadable := 0, 0
	for _, e := range events(t, cat(t, find(t, golden), CatOptions{})) {
		if e.Erased {
			erased++
			if e.Kind != "" || e.Error != "" || e.DID == "" {
				t.Errorf("%+v", e)
			}
		} else if e.Error != "" {
			unreadable++
		}
	}
	if erased != 1 || unreadable != 11 { // the others are too short to be frames of the lexicon
		t.Errorf("%d erased, %d unreadable", erased, unreadable)
	}
	r := mustVerify(t, find(t, golden), VerifyOptions{Signatures: true})
	wantProblem(t, r, "seq 1000000000", "cannot be read")
}
