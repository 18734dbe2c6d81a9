package frame_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/cistern-archive/cistern/internal/frame"
)

// corpusFile stands beside the repository; its frames are not part of it.
var corpusFile = filepath.Join("..", "..", "..", "shared", "corpus", "frames.bin.zst")

// corpus returns real frames of a production relay, or skips the test.
func corpus(tb testing.TB) [][]byte {
	tb.Helper()
	packed, err := os.ReadFile(corpusFile)
	if errors.Is(err, os.ErrNotExist) {
		tb.Skipf("the corpus of real frames is not here (%s); nothing to compare with", corpusFile)
	}
	if err != nil {
		tb.Fatal(err)
	}
	dec, err := zstd.NewReader(nil)
	if err != nil {
		tb.Fatal(err)
	}
	defer dec.Close()
	b, err := dec.DecodeAll(packed, nil)
	if err != nil {
		tb.Fatal(err)
	}
	var frames [][]byte
	for len(b) > 0 {
		n := int(binary.LittleEndian.Uint32(b))
		frames = append(frames, b[4:4+n:4+n])
		b = b[4+n:]
	}
	if len(frames) != 75 {
		tb.Fatalf("the corpus has %d frames, want 75", len(frames))
	}
	return frames
}

func TestRealFramesSpliceToThemselves(t *testing.T) {
	for i, raw := range corpus(t) {
		ev, err := frame.Parse(raw)
		if err != nil {
			t.Fatalf("frame %d: %v", i, err)
		}
		if ev.Reencoded {
			t.Errorf("frame %d (%s): canonical, but re-encoded", i, ev.Type)
		}
		if got := ev.AppendFrame(nil, ev.Seq); !bytes.Equal(got, raw) {
			t.Errorf("frame %d (%s): splicing its own seq changed it", i, ev.Type)
		}
		there, err := frame.Splice(raw, 1)
		if err != nil {
			t.Fatalf("frame %d: %v", i, err)
		}
		back, err := frame.Splice(there, ev.Seq)
		if err != nil || !bytes.Equal(back, raw) {
			t.Errorf("frame %d (%s): seq 1 and back is not the identity (%v)", i, ev.Type, err)
		}
		sameAsIndigo(t, raw, ev)
	}
}
