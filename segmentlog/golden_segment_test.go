package segmentlog

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/transparency-dev/merkle/compact"

	"github.com/cistern-archive/cistern/segmentlog/dagcbor"
)

// The vectors of docs/format/segment.md and tree.md. Like those of the hot file
// they have no flag that writes them.
const (
	goldenFolder  = "testdata/segment"
	goldenStream  = "00112233445566778899aabbccddeeff"
	goldenLeaves  = 5 // of the log before the segment: the first of tree.json
	goldenSegment = "00000002-0000001000000000-0000001000000013.1.cbor.zst"
)

// goldenLeaf is leaf i of tree.json: of the ASCII digits of i.
func goldenLeaf(i int) []byte {
	sum := sha256.Sum256(append([]byte{leafPrefix}, strconv.Itoa(i)...))
	return sum[:]
}

// goldenTree is tree.json: the root of the first 1, 2, … leaves.
type goldenTree struct {
	Leaves []string `json:"leaves"`
	Roots  []string `json:"roots"`
}

// goldenContent is segment.json: what a reader must find.
type goldenContent struct {
	Header  []any             `json:"header"`
	Footer  goldenFooter      `json:"footer"`
	Records []json.RawMessage `json:"records"`
}

type goldenFooter struct {
	Stream         string            `json:"stream"`
	Epoch          uint64            `json:"epoch"`
	Generation     uint64            `json:"generation"`
	FirstSeq       uint64            `json:"first_seq"`
	LastSeq        uint64            `json:"last_seq"`
	FirstWitnessed int64             `json:"first_witnessed"`
	LastWitnessed  int64             `json:"last_witnessed"`
	Count          uint64            `json:"count"`
	FirstLeaf      uint64            `json:"first_leaf"`
	Frontier       []string          `json:"frontier"`
	Leaves         []string          `json:"leaves"`
	Root           string            `json:"root"`
	HeaderFrame    []any             `json:"header_frame"`
	Blocks         [][]any           `json:"blocks"`
	Kinds          map[string]uint64 `json:"kinds"`
	Collections    map[string]uint64 `json:"collections"`
}

type goldenRecord struct {
	Seq       uint64  `json:"seq"`
	Witnessed int64   `json:"witnessed"`
	DID       string  `json:"did"`
	Host      string  `json:"host"`
	HostEpoch uint64  `json:"host_epoch"`
	HostSeq   uint64  `json:"host_seq"`
	HostFloor uint64  `json:"host_floor"`
	Verdict   uint64  `json:"verdict"`
	Key       *string `json:"key"`
	Frame     string  `json:"frame"`
	Digest    *string `json:"digest"`
	Leaf      string  `json:"leaf"`
}

func hexes(hashes [][]byte) (out []string) {
	for _, h := range hashes {
		out = append(out, hex.EncodeToString(h))
	}
	return out
}

func (s *Span) golden() []any { return []any{s.Offset, s.Wire, s.Raw, hex.EncodeToString(s.SHA256[:])} }

// describe writes what s holds in the form of segment.json.
func describe(t *testing.T, s *Segment) []byte {
	t.Helper()
	f := s.Footer()
	c := goldenContent{
		Header: []any{headerMagic, headerVersion, f.Stream, f.Name.Epoch, f.Name.FirstSeq, f.FirstLeaf},
		Footer: goldenFooter{
			Stream: f.Stream, Epoch: f.Name.Epoch, Generation: f.Name.Generation, FirstSeq: f.Name.FirstSeq, LastSeq: f.Name.LastSeq,
			FirstWitnessed: f.FirstWitnessed, LastWitnessed: f.LastWitnessed, Count: f.Count, FirstLeaf: f.FirstLeaf,
			Frontier: hexes(f.Frontier), Leaves: hexes(f.Leaves), Root: hex.EncodeToString(f.Root), HeaderFrame: f.Header.golden(),
			Kinds: f.Kinds, Collections: f.Collections,
		},
	}
	for i := range f.Blocks {
		b := &f.Blocks[i]
		c.Footer.Blocks = append(c.Footer.Blocks, append(b.golden(), b.Count, b.FirstSeq, b.LastSeq, b.FirstWitnessed, b.LastWitnessed))
	}
	for rec, err := range s.Records(0) {
		if err != nil {
			t.Fatal(err)
		}
		leaf, err := LeafHash(AppendRecord(nil, rec))
		if err != nil {
			t.Fatal(err)
		}
		r := goldenRecord{
			Seq: rec.Seq, Witnessed: rec.Witnessed, DID: string(rec.DID), Host: string(rec.Host), HostEpoch: rec.HostEpoch, HostSeq: rec.HostSeq,
			HostFloor: rec.HostFloor, Verdict: uint64(rec.Verdict), Frame: hex.EncodeToString(rec.Frame), Leaf: hex.EncodeToString(leaf[:]),
		}
		for from, to := range map[*[]byte]**string{&rec.Key: &r.Key, &rec.Digest: &r.Digest} {
			if *from != nil {
				text := hex.EncodeToString(*from)
				*to = &text
			}
		}
		line, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		c.Records = append(c.Records, line)
	}
	out, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return append(out, '\n')
}

// goldenFrame is a frame as far as a footer counts it: a kind, and for a commit ops.
func goldenFrame(seq uint64, kind string, paths ...string) []byte {
	b := dagcbor.AppendHead(nil, dagcbor.MajorMap, 2)
	b = dagcbor.AppendText(dagcbor.AppendText(b, "t"), kind)
	b = dagcbor.AppendUint(dagcbor.AppendText(b, "op"), 1)
	b = dagcbor.AppendHead(b, dagcbor.MajorMap, 2)
	b = dagcbor.AppendHead(dagcbor.AppendText(b, "ops"), dagcbor.MajorArray, uint64(len(paths)))
	for _, p := range paths {
		b = dagcbor.AppendText(dagcbor.AppendText(dagcbor.AppendHead(b, dagcbor.MajorMap, 1), "path"), p)
	}
	return dagcbor.AppendUint(dagcbor.AppendText(b, "seq"), seq)
}

// goldenEvents are the records of the segment: of every kind, with a gap in the
// numbers, one erased and one whose frame cannot be read.
func goldenEvents() (recs []Record) {
	const post, like, follow = "app.bsky.feed.post/3l", "app.bsky.feed.like/3l", "app.bsky.graph.follow/3l"
	for i, e := range []struct {
		kind  string
		paths []string
	}{
		{"#identity", nil}, {"#account", nil}, {"#commit", []string{post}}, {"#sync", nil}, {"#commit", []string{like, follow}},
		{"#commit", []string{post}}, {"", nil}, {"#commit", []string{like}}, {"#commit", []string{post, post, like}}, {"#commit", nil},
		{"#account", nil}, {"#commit", []string{follow}},
	} {
		seq := uint64(1_000_000_000 + i)
		if i >= 7 {
			seq += 2
		}
		r := Record{
			Seq: seq, Witnessed: 1_767_225_600_000_000 + int64(i)*250_000, DID: []byte("did:web:a.examp"), Host: []byte("pds.example"),
			HostEpoch: 1, HostSeq: uint64(70_000 + i), HostFloor: uint64(69_990 + i), Frame: goldenFrame(seq, e.kind, e.paths...),
		}
		switch e.kind {
		case "#commit", "#sync":
			r.Verdict, r.Key = Signature|Inversion|Authority|Chain, []byte("\xe7\x01"+"\x02abcdefghijklmnopqrstuvwxyz012345")
		case "#account":
			r.Host, r.HostEpoch, r.HostSeq, r.HostFloor, r.Verdict = []byte{}, 0, 0, 0, Local
		case "":
			r.Frame = []byte("no frame")
		}
		if i == 5 {
			sum := sha256.Sum256(r.Frame)
			r.Frame, r.Digest = []byte{}, sum[:]
		}
		recs = append(recs, r)
	}
	return recs
}

func goldenFrontier(t *testing.T) *compact.Range {
	r := ranges.NewEmptyRange(0)
	for i := range goldenLeaves {
		if err := r.Append(goldenLeaf(i), nil); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

// writeGolden writes the segment with today's compressor.
func writeGolden(t *testing.T) []byte {
	t.Helper()
	var out bytes.Buffer
	frontier := goldenFrontier(t)
	w, err := newSegmentWriter(&out, goldenStream, 2, 1, frontier, SegmentOptions{BlockSize: 1 << 10})
	if err != nil {
		t.Fatal(err)
	}
	defer w.close()
	for _, r := range goldenEvents() {
		if err := w.add(AppendRecord(nil, &r), &r); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.finish(frontier); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func readGolden(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(goldenFolder, name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestTheGoldenSegmentIsReadAsItWasWritten(t *testing.T) {
	b := readGolden(t, goldenSegment)
	s, err := openBytes(b)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Verify(context.Background(), VerifyOptions{}); err != nil {
		t.Fatal(err)
	}
	if s.Footer().Name.String() != goldenSegment {
		t.Errorf("its name is %s", s.Footer().Name)
	}
	if got, want := describe(t, s), readGolden(t, "segment.json"); !bytes.Equal(got, want) {
		t.Errorf("it is read as\n%s\nwant\n%s", got, want)
	}
	if tail := appendTail(nil, s.Footer()); !bytes.HasSuffix(b, tail) {
		t.Errorf("footer and seek table are written as\n%x", tail)
	}
	want := goldenEvents()
	for rec, err := range s.Records(0) {
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(AppendRecord(nil, rec), AppendRecord(nil, &want[0])) {
			t.Errorf("seq %d is not record %d of the test", rec.Seq, want[0].Seq)
		}
		want = want[1:]
	}
}

// TestTheWriterStillWritesTheGoldenSegment compares everything but the zstd frames,
// which may change with the compressor.
func TestTheWriterStillWritesTheGoldenSegment(t *testing.T) {
	old, err := openBytes(readGolden(t, goldenSegment))
	if err != nil {
		t.Fatal(err)
	}
	today, err := openBytes(writeGolden(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := today.Verify(context.Background(), VerifyOptions{}); err != nil {
		t.Fatal(err)
	}
	f, g := *old.Footer(), *today.Footer()
	if len(f.Blocks) != len(g.Blocks) {
		t.Fatalf("%d blocks, want %d", len(g.Blocks), len(f.Blocks))
	}
	g.Header = f.Header
	for i := range g.Blocks {
		if g.Blocks[i].Raw != f.Blocks[i].Raw {
			t.Errorf("block %d of %d bytes, want %d", i, g.Blocks[i].Raw, f.Blocks[i].Raw)
		}
		g.Blocks[i].Span = f.Blocks[i].Span
	}
	if got := g.append(nil); !bytes.Equal(got, f.append(nil)) {
		t.Errorf("the footer is\n%+v\nwant\n%+v", g, f)
	}
}

func TestRootsAreThoseOfTheVectors(t *testing.T) {
	var want goldenTree
	if err := json.Unmarshal(readGolden(t, "tree.json"), &want); err != nil {
		t.Fatal(err)
	}
	if len(want.Leaves) != 20 || len(want.Roots) != 20 {
		t.Fatal(len(want.Leaves), len(want.Roots))
	}
	r := ranges.NewEmptyRange(0)
	for i := range want.Roots {
		if err := r.Append(goldenLeaf(i), nil); err != nil {
			t.Fatal(err)
		}
		root, err := rootOf(r)
		if err != nil || hex.EncodeToString(root) != want.Roots[i] || hex.EncodeToString(goldenLeaf(i)) != want.Leaves[i] {
			t.Errorf("root of %d leaves: %x, want %s (%v)", i+1, root, want.Roots[i], err)
		}
		// RFC 6962, section 2.1, as it is written there.
		if slow := slowRoot(i+1, 0); !bytes.Equal(slow, root) {
			t.Errorf("root of %d leaves by the definition: %x", i+1, slow)
		}
	}
}

// slowRoot is the root of n golden leaves from the first on.
func slowRoot(n, first int) []byte {
	if n == 1 {
		return goldenLeaf(first)
	}
	k := 1
	for 2*k < n {
		k *= 2
	}
	sum := sha256.Sum256(append(append([]byte{1}, slowRoot(k, first)...), slowRoot(n-k, first+k)...))
	return sum[:]
}
