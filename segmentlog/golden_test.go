package segmentlog

import (
	"bytes"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// golden reads a vector: hex digits, with what stands behind a # for people. There
// is no flag that writes these files: they are the format, and a test that fails
// here says that the code no longer keeps it.
func golden(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", "golden", name))
	if err != nil {
		t.Fatal(err)
	}
	var digits strings.Builder
	for line := range strings.Lines(string(b)) {
		code, _, _ := strings.Cut(line, "#")
		digits.WriteString(strings.Join(strings.Fields(code), ""))
	}
	out, err := hex.DecodeString(digits.String())
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return out
}

// An #identity event, in two parts around the value of its seq.
const (
	goldenHead = "\xa2\x61t\x69#identity\x62op\x01" + "\xa3\x63did\x6fdid:web:a.examp" + "\x63seq"
	goldenTail = "\x64time\x782026-01-01T00:00:00.000Z"
)

// goldenRecords are the vectors, by file.
func goldenRecords() map[string]Record {
	frame := func(seq byte) []byte { return []byte(goldenHead + string(rune(seq)) + goldenTail) }
	plain := Record{
		Seq: 1, Witnessed: 1_767_225_600_000_000, DID: []byte("did:web:a.examp"), Host: []byte("pds.example"),
		HostEpoch: 1, HostSeq: 70_000, HostFloor: 69_998, Verdict: Signature | Inversion | Authority | Chain,
		Key: []byte("\xe7\x01" + "\x02abcdefghijklmnopqrstuvwxyz012345"), Frame: frame(1),
	}
	local := Record{
		Seq: 2, Witnessed: 1_767_225_600_000_001, DID: plain.DID, Host: []byte{}, Verdict: Local, Frame: frame(2),
	}
	erased := plain
	erased.Seq, erased.Frame = 5, []byte{}
	erased.Digest, _ = hex.DecodeString("9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08")
	limits := Record{
		Seq: MaxSeq, Witnessed: 1<<53 - 1, DID: []byte("did:plc:ewvi7nxzyoun6zhxrhs64oiz"), Host: []byte("localhost:2583"),
		HostEpoch: 1 << 32, HostSeq: 1<<64 - 1, HostFloor: 24, Verdict: Unproven<<1 - 1, Key: []byte{}, Frame: bytes.Repeat([]byte("x"), 300),
	}
	return map[string]Record{
		"record-plain.txt": plain, "record-local.txt": local, "record-erased.txt": erased, "record-limits.txt": limits,
	}
}

func TestRecordsAreTheBytesOfTheFormat(t *testing.T) {
	for name, r := range goldenRecords() {
		want := golden(t, name)
		if got := AppendRecord(nil, &r); !bytes.Equal(got, want) {
			t.Errorf("%s: encoded as\n%x\nwant\n%x", name, got, want)
		}
		var back Record
		if n, err := DecodeRecord(want, &back); err != nil || n != len(want) || !bytes.Equal(AppendRecord(nil, &back), want) {
			t.Errorf("%s: decoded as %+v, %v", name, back, err)
		}
	}
}

// writeGoldenHot writes the small log of hot.txt: two commits, closed.
func writeGoldenHot(t *testing.T, fs vfs.FS, path string) {
	t.Helper()
	h := Header{Stream: "00112233445566778899aabbccddeeff", Epoch: 1, FirstSeq: 1, FirstLeaf: 0, Salt: []byte("0123456789abcdef")}
	w, err := createHot(fs, path, h)
	if err != nil {
		t.Fatal(err)
	}
	e := Entry{
		DID: "did:web:a.examp", Host: "pds.example", HostEpoch: 1, HostSeq: 70_000, HostFloor: 69_998,
		Verdict: Authority, Head: []byte(goldenHead), Tail: []byte(goldenTail),
	}
	for _, seqs := range [][]uint64{{1, 2}, {5}} {
		var p pendingBatch
		p.reset()
		for _, seq := range seqs {
			p.add(seq, 1_767_225_600_000_000+int64(seq), &e)
		}
		if err := w.appendBatch(p.buf); err != nil {
			t.Fatal(err)
		}
		w.advance(p.lastSeq(), len(p.refs))
	}
	if err := w.close(); err != nil {
		t.Fatal(err)
	}
}

func TestAHotFileIsTheBytesOfTheFormat(t *testing.T) {
	fs := vfs.NewMem()
	path := hotName(1, 1)
	writeGoldenHot(t, fs, path)
	want := golden(t, "hot.txt")
	if got := mustRead(t, fs, path); !bytes.Equal(got, want) {
		t.Errorf("written as\n%x\nwant\n%x", got, want)
	}
	mustWrite(t, fs, path, want)
	s, err := scanHot(fs, path, 0, true)
	if err != nil || s.count() != 3 || s.last() != 5 || s.tailCount != 0 || s.torn {
		t.Fatalf("%+v %v", s, err)
	}
	var marks []int64
	m := newMarker(want[:s.file.headerLen])
	for at := range want {
		if m.is(want[at:], int64(at)) {
			marks = append(marks, int64(at))
		}
	}
	if len(marks) != 4 || marks[0] != s.file.headerLen || marks[3] != int64(len(want))-markSize {
		t.Fatalf("marks at %v", marks)
	}
}
