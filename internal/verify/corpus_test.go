package verify

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/bluesky-social/indigo/atproto/identity"
	"github.com/klauspost/compress/zstd"

	"github.com/cistern-archive/cistern/internal/frame"
	"github.com/cistern-archive/cistern/internal/signing"
	"github.com/cistern-archive/cistern/segmentlog"
)

// corpusDir holds real frames, which are not part of the repository.
const corpusDir = "../../../shared/corpus"

type realEvent struct {
	ev  *frame.Event
	key *signing.Key
}

func readZstd(t testing.TB, name string) []byte {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(corpusDir, name))
	if errors.Is(err, fs.ErrNotExist) {
		t.Skipf("no real frames: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	dec, err := zstd.NewReader(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer dec.Close()
	out, err := dec.DecodeAll(raw, nil)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// realEvents returns the #commit and #sync frames of the corpus with their keys.
func realEvents(t testing.TB) []realEvent {
	t.Helper()
	docs := map[string]identity.DIDDocument{}
	if err := json.Unmarshal(readZstd(t, "did_docs.json.zst"), &docs); err != nil {
		t.Fatal(err)
	}
	var events []realEvent
	for b := readZstd(t, "frames.bin.zst"); len(b) > 0; {
		n := binary.LittleEndian.Uint32(b)
		ev, err := frame.Parse(b[4 : 4+n])
		if err != nil {
			t.Fatal(err)
		}
		b = b[4+n:]
		if ev.Kind != frame.Commit && ev.Kind != frame.Sync {
			continue
		}
		doc, ok := docs[ev.DID]
		if !ok {
			t.Fatalf("no document of %s", ev.DID)
		}
		ident := identity.ParseIdentity(&doc)
		pub, err := ident.PublicKey()
		if err != nil {
			t.Fatal(err)
		}
		key, err := signing.FromPublic(pub)
		if err != nil {
			t.Fatal(err)
		}
		events = append(events, realEvent{ev, key})
	}
	return events
}

func TestRealFramesPassStrict(t *testing.T) {
	events := realEvents(t)
	v := New(Options{})
	for _, e := range events {
		judge := v.Commit
		want := segmentlog.Signature | segmentlog.Inversion | segmentlog.FirstSeen
		if e.ev.Kind == frame.Sync {
			judge, want = v.Sync, segmentlog.Signature|segmentlog.FirstSeen
		}
		got, err := judge(e.ev, e.key, State{})
		if err != nil {
			t.Errorf("seq %d of %s: %v", e.ev.Seq, e.ev.DID, err)
			continue
		}
		if got.Verdict&^segmentlog.RecordDefect != want {
			t.Errorf("seq %d of %s: verdict %s", e.ev.Seq, e.ev.DID, got.Verdict)
		}
		state, err := StateOf(e.ev)
		if err != nil || state.Rev != got.State.Rev || string(state.Data) != string(got.State.Data) || string(state.Commit) != string(got.State.Commit) {
			t.Errorf("seq %d of %s: StateOf gives %v, %v; verified %v", e.ev.Seq, e.ev.DID, state, err, got.State)
		}
	}
	t.Logf("%d real #commit and #sync frames", len(events))
}

// BenchmarkReal is the verification of a real frame without its signature.
func BenchmarkReal(b *testing.B) {
	events := realEvents(b)
	v := New(Options{})
	size := 0
	for _, e := range events {
		size += len(e.ev.Blocks)
	}
	b.SetBytes(int64(size / len(events)))
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		ev := events[i%len(events)].ev
		c, err := v.open(ev)
		if err == nil {
			_, err = v.prove(ev, c, State{})
		}
		if err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkRealSigned is the same with the signature and the result.
func BenchmarkRealSigned(b *testing.B) {
	events := realEvents(b)
	v := New(Options{})
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		e := events[i%len(events)]
		if _, err := v.Commit(e.ev, e.key, State{}); err != nil {
			b.Fatal(err)
		}
	}
}
