package segmentlog

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// sampleRecords have each optional field absent, empty and present.
func sampleRecords() []Record {
	full := Record{
		Seq: 1, Witnessed: 1_767_225_600_000_000, DID: []byte("did:plc:ewvi7nxzyoun6zhxrhs64oiz"), Host: []byte("pds.example:8443"),
		HostEpoch: 2, HostSeq: 1 << 40, HostFloor: 1<<40 - 7, Verdict: Signature | Inversion | Authority | Chain,
		Key: []byte{0xe7, 0x01, 2, 3}, Frame: []byte("\xa1\x61a\x01\xa0"), Digest: bytes.Repeat([]byte{7}, digestSize),
	}
	plain := full
	plain.Seq, plain.Digest = 2, nil
	local := Record{Seq: MaxSeq, DID: []byte("did:web:example.com"), Host: []byte{}, Verdict: Local, Frame: []byte{}}
	emptyKey := local
	emptyKey.Seq, emptyKey.Key = 3, []byte{}
	return []Record{full, plain, local, emptyKey}
}

func FuzzDecodeRecord(f *testing.F) {
	for _, r := range sampleRecords() {
		f.Add(AppendRecord(nil, &r))
	}
	f.Add([]byte{recordHead})
	f.Fuzz(func(t *testing.T, b []byte) {
		b = slices.Clip(b)
		var r Record
		n, err := DecodeRecord(b, &r)
		if err != nil {
			// A checksum that fits would have made it a record if the rest is one.
			return
		}
		if n > len(b) {
			t.Fatalf("%d of %d bytes", n, len(b))
		}
		if again := AppendRecord(nil, &r); !bytes.Equal(again, b[:n]) {
			t.Fatalf("decoded from\n%x\nencoded as\n%x", b[:n], again)
		}
		for short := range n {
			if _, err := DecodeRecord(slices.Clip(b[:short]), &r); err == nil {
				t.Fatalf("%d of %d bytes are a record as well", short, n)
			}
		}
	})
}

// FuzzRecord goes the other way: what Append takes is read back.
func FuzzRecord(f *testing.F) {
	for _, r := range sampleRecords() {
		f.Add(r.Seq, r.Witnessed, string(r.DID), string(r.Host), r.HostSeq, r.HostFloor, uint64(r.Verdict), r.Key, r.Frame, []byte{})
	}
	f.Fuzz(func(t *testing.T, seq uint64, witnessed int64, did, host string, hostSeq, floor, verdict uint64, key, head, tail []byte) {
		e := Entry{DID: did, Host: host, HostEpoch: hostSeq >> 3, HostSeq: hostSeq, HostFloor: floor, Verdict: Verdict(verdict), Key: key, Head: head, Tail: tail}
		b, off, n := appendEntry(nil, seq, witnessed, &e)
		if len(b) > entrySize(&e) {
			t.Fatalf("%d bytes, at most %d expected", len(b), entrySize(&e))
		}
		var r Record
		got, err := DecodeRecord(b, &r)
		takes := e.valid() == nil && seq >= 1 && seq <= MaxSeq && witnessed >= 0
		if takes != (err == nil) {
			t.Fatalf("%v, but %v", err, e.valid())
		}
		if err != nil {
			return
		}
		frame := b[off : off+n]
		if got != len(b) || r.Seq != seq || string(r.DID) != did || string(r.Host) != host || !bytes.Equal(r.Frame, frame) ||
			!bytes.HasPrefix(frame, head) || !bytes.HasSuffix(frame, tail) || !bytes.Equal(r.Key, key) {
			t.Fatalf("%+v", r)
		}
	})
}

func FuzzMark(f *testing.F) {
	head := sampleHeader().encode()
	m := newMarker(head)
	var b [markSize]byte
	for _, at := range []int64{int64(len(head)), 96, 1 << 30} {
		m.put(b[:], at)
		f.Add(bytes.Clone(b[:]), at)
	}
	f.Fuzz(func(t *testing.T, b []byte, at int64) {
		b = slices.Clip(b)
		if !m.is(b, at) {
			return
		}
		var want [markSize]byte
		m.put(want[:], at)
		if !bytes.Equal(b[:markSize], want[:]) {
			t.Fatalf("%x counts as the mark for %d, which is %x", b, at, want)
		}
		if m.is(b, at+1) || at != m.headerLen && m.is(b, at-1) {
			t.Fatal("it is a mark somewhere else as well")
		}
	})
}

func sampleHeader() *Header {
	return &Header{Stream: "00112233445566778899aabbccddeeff", Epoch: 1, FirstSeq: 1, FirstLeaf: 0, Salt: []byte("0123456789abcdef")}
}

func FuzzHeader(f *testing.F) {
	f.Add(sampleHeader().encode())
	f.Add(sampleHeader().encode()[:20])
	f.Fuzz(func(t *testing.T, b []byte) {
		h, n, err := decodeHotHeader(slices.Clip(b))
		if err != nil {
			return
		}
		if n > maxHeader {
			t.Fatalf("%d bytes", n)
		}
		if again := h.encode(); !bytes.Equal(again, b[:n]) {
			t.Fatalf("decoded from\n%x\nencoded as\n%x", b[:n], again)
		}
	})
}

// openHot opens a log whose one hot file has the given content and checks what
// must hold whatever the content is: no panic, nothing served that is not in it,
// in order, the same in chunks, and the same again after a clean end.
func openHot(t *testing.T, b []byte) (recs []Record, err error) {
	t.Helper()
	h, _, err := decodeHotHeader(b)
	if err != nil {
		h = *sampleHeader()
	}
	if _, _, ok := parseHotName(hotName(h.Epoch, h.FirstSeq)); !ok {
		return nil, nil
	}
	o := testOptions(vfs.NewMem())
	if err := o.FS.MkdirAll("/data/"+logFolder, 0o755); err != nil {
		t.Fatal(err)
	}
	stream, err := json.Marshal(Stream{Version: 1, ID: h.Stream, Epochs: []Epoch{{Epoch: h.Epoch, FirstSeq: 1}}})
	if err != nil {
		t.Fatal(err)
	}
	mustWrite(t, o.FS, "/data/"+streamFile, stream)
	mustWrite(t, o.FS, "/data/"+logFolder+"/"+hotName(h.Epoch, h.FirstSeq), b)
	l, err := Open(o)
	if err != nil {
		return nil, err
	}
	recs = readAll(t, l, 0)
	wantSame(t, "chunks", decodeChunks(t, l, 0, 1), recs)
	mustClose(t, l)
	last := uint64(0)
	for i := range recs {
		if !bytes.Contains(b, AppendRecord(nil, &recs[i])) || recs[i].Seq <= last {
			t.Fatalf("served seq %d after %d", recs[i].Seq, last)
		}
		last = recs[i].Seq
	}
	l, err = Open(o)
	if err != nil {
		t.Fatalf("the second start: %v", err)
	}
	if again := readAll(t, l, 0); !slices.EqualFunc(encodeAll(again), encodeAll(recs), bytes.Equal) {
		t.Fatalf("%d records at the second start, %d at the first", len(again), len(recs))
	}
	mustClose(t, l)
	return recs, nil
}

func FuzzScanHot(f *testing.F) {
	whole := assemble([]byte("m.r5r4m.r3m."))
	f.Add(whole.content)
	f.Add(whole.content[:len(whole.content)-20])
	f.Fuzz(func(t *testing.T, b []byte) {
		_, _ = openHot(t, b) // what it must not do, it checks
	})
}

// assembled is a hot file put together from instructions, with the truth beside it.
type assembled struct {
	content []byte
	// intact is how many records stand before the first bad item; marks is whether a
	// mark stands behind it.
	intact int
	bad    bool
	marked bool
}

// assemble reads pairs of an instruction and an argument: m a mark, r a record
// with so much of a frame, and as bad items s a record whose seq is too low, c one
// whose CRC is wrong, j junk, o a mark for another offset. The first mark is there
// always.
func assemble(program []byte) assembled {
	head := sampleHeader().encode()
	m := newMarker(head)
	var a assembled
	a.content = append(a.content, head...)
	mark := func(at int64) {
		var b [markSize]byte
		m.put(b[:], at)
		a.content = append(a.content, b[:]...)
	}
	mark(int64(len(head)))
	seq := uint64(0)
	for ; len(program) >= 2; program = program[2:] {
		arg := int(program[1])
		e := Entry{DID: "did:web:a", Head: bytes.Repeat([]byte{0x98, 0x02, 0x1b}, arg/3)}
		switch program[0] {
		case 'm':
			mark(int64(len(a.content)))
			a.marked = a.marked || a.bad
		case 'r':
			seq++
			a.content, _, _ = appendEntry(a.content, seq, 0, &e)
			if !a.bad {
				a.intact++
			}
		case 's':
			a.content, _, _ = appendEntry(a.content, seq, 0, &e)
			a.bad = true
		case 'c':
			a.content, _, _ = appendEntry(a.content, seq+1, 0, &e)
			a.content[len(a.content)-1]++
			a.bad = true
		case 'j':
			a.content = append(a.content, byte(arg), 0xff)
			a.bad = true
		case 'o':
			var b [markSize]byte
			m.put(b[:], int64(len(a.content))+1+int64(arg))
			a.content = append(a.content, b[:]...)
			a.bad = true
		}
	}
	return a
}

func FuzzRecovery(f *testing.F) {
	for _, p := range []string{"m.r5r4m.r3m.", "m.r5m.r5c.m.", "m.r5m.r5c.", "m.r1s.r1", "m.r1o.r1m.", "j.", "m.j.m.", "r1m.r2m.r3"} {
		f.Add([]byte(p))
	}
	f.Fuzz(func(t *testing.T, program []byte) {
		if len(program) > 200 {
			return
		}
		a := assemble(program)
		recs, err := openHot(t, a.content)
		switch {
		case a.bad && a.marked && err == nil:
			t.Fatalf("%q: damage below a mark passed as a tear", program)
		case a.bad && a.marked:
			wantCorrupt(t, err, "/data/log/"+hotName(1, 1), int64(len(a.content)))
		case err != nil:
			t.Fatalf("%q: %v", program, err)
		case len(recs) != a.intact:
			t.Fatalf("%q: %d records, %d are intact: %x", program, len(recs), a.intact, binary.BigEndian.Uint16(a.content))
		}
	})
}

// FuzzHotChunk puts any bytes anywhere into a hot file that is open, and reads it in
// chunks: what is read is what stands there, in order and complete, or an error.
func FuzzHotChunk(f *testing.F) {
	a := assemble([]byte("m.r\x05r\x40m.r\x03m.r\x01r\x01r\x01m.r\x80r\x20m.r\x05r\x05m."))
	h := &hotFile{path: "/hot", header: *sampleHeader()}
	h.headerLen = int64(len(h.header.encode()))
	m := newMarker(h.header.encode())
	var rec Record
	for it := (itemReader{f: memFile(f, a.content), off: h.headerLen, end: int64(len(a.content)), mark: &m}); ; {
		at := it.off
		kind, err := it.next(&rec)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			f.Fatal(err)
		}
		if kind == itemRecord {
			h.seeks = append(h.seeks, seekPoint{rec.Seq, at})
		}
	}
	h.end.Store(int64(len(a.content)))
	f.Add([]byte{}, uint16(0), uint8(0))
	f.Add([]byte{0xff}, uint16(h.seeks[2].off+20), uint8(100))
	f.Add(a.content[h.seeks[2].off:h.seeks[3].off], uint16(h.seeks[3].off), uint8(0))
	f.Fuzz(func(t *testing.T, b []byte, at uint16, size uint8) {
		content := bytes.Clone(a.content)
		if int(at) < len(content) {
			copy(content[at:], b)
		}
		file := memFile(t, content)
		cuts := h.cuts(0, rec.Seq, int64(size))
		seq := uint64(0)
		for i := range cuts[:len(cuts)-1] {
			c := hotChunk{file: h, from: cuts[i], to: cuts[i+1], final: i == len(cuts)-2}
			err := c.each(file, &BlockBuffer{}, func(r *Record) bool {
				if r.Seq <= seq || r.Seq < c.from.seq || r.Seq >= c.to.seq {
					t.Fatalf("seq %d after %d in the chunk of %d to %d", r.Seq, seq, c.from.seq, c.to.seq)
				}
				if !bytes.Contains(content[c.from.off:c.to.off], AppendRecord(nil, r)) {
					t.Fatalf("seq %d does not stand there", r.Seq)
				}
				seq = r.Seq
				return true
			})
			var corrupt *CorruptError
			switch {
			case err == nil && bytes.Equal(content[c.from.off:c.to.off], a.content[c.from.off:c.to.off]) && seq != c.to.seq-1:
				t.Fatalf("a chunk through %d ends at %d", c.to.seq-1, seq)
			case err != nil && !errors.As(err, &corrupt):
				t.Fatal(err)
			case err != nil && bytes.Equal(content, a.content):
				t.Fatalf("nothing was changed: %v", err)
			}
		}
	})
}

// memFile is a file of the given content.
func memFile(t testing.TB, content []byte) vfs.File {
	t.Helper()
	fs := vfs.NewMem()
	mustWrite(t, fs, "/hot", content)
	file, err := fs.Open("/hot")
	if err != nil {
		t.Fatal(err)
	}
	return file
}
