package frame_test

import (
	"bytes"
	"testing"

	"github.com/cistern-archive/cistern/internal/frame"
)

// seqs are where the encoding of a number changes its length.
var seqs = []uint64{1, 23, 24, 255, 256, 65535, 65536, 1<<32 - 1, 1 << 32, frame.MaxSeq}

func TestSpliceChangesTheSeqAlone(t *testing.T) {
	fields := map[string][]field{
		"#commit": commitFields(), "#sync": syncFields(), "#identity": identityFields(), "#account": accountFields(),
	}
	for kind, pairs := range fields {
		for _, from := range seqs {
			for _, to := range seqs {
				raw := message(kind, with(pairs, "seq", uintItem(from)))
				got, err := frame.Splice(raw, to)
				if err != nil {
					t.Fatal(err)
				}
				if want := message(kind, with(pairs, "seq", uintItem(to))); !bytes.Equal(got, want) {
					t.Errorf("%s from %d to %d: want %x, got %x", kind, from, to, want, got)
				}
				if n := mustParse(t, raw).FrameLen(to); n != len(got) {
					t.Errorf("%s to %d: FrameLen says %d, it is %d", kind, to, n, len(got))
				}
			}
		}
	}
}

func TestSpliceRefusesWhatHasNoPlaceForASeq(t *testing.T) {
	all := samples()
	for name, c := range map[string]struct {
		raw []byte
		seq uint64
	}{
		"seq 0":    {all["#sync"], 0},
		"seq 2^53": {all["#sync"], 1 << 53},
		"#info":    {all["#info"], 1},
		"unknown":  {message("#what", nil), 1},
		"garbage":  {[]byte("garbage"), 1},
	} {
		if got, err := frame.Splice(c.raw, c.seq); err == nil {
			t.Errorf("%s: got %x", name, got)
		}
	}
}

func TestAppendFrameLeavesTheParsedFrameAlone(t *testing.T) {
	raw := samples()["#commit"]
	before := bytes.Clone(raw)
	ev := mustParse(t, raw)
	_ = append(ev.Head, 0xff, 0xff, 0xff) // Head must not have room within the frame
	_ = append(ev.Commit, 0xff)
	_ = append(ev.Blocks, 0xff)
	if !bytes.Equal(raw, before) {
		t.Error("appending to a part of the event wrote into the frame")
	}
}
