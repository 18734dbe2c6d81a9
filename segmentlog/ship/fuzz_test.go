package ship

import (
	"bytes"
	"testing"
	"time"

	"github.com/cistern-archive/cistern/segmentlog"
)

func sampleEntry() Entry {
	at := time.Date(2026, 11, 27, 23, 59, 59, 999_999_000, time.UTC).UnixMicro()
	return Entry{
		Name:  segmentlog.SegmentName{Epoch: 2, FirstSeq: 1_000_000_000, LastSeq: 1_000_000_099},
		Bytes: 4321, SHA256: [32]byte{1}, RawBytes: 99_999, FirstWitnessed: at, LastWitnessed: at + 2_000_000, Records: 100,
		FirstLeaf: 77, Root: [32]byte{2}, Kinds: map[string]uint64{"#commit": 99, "#identity": 1},
	}
}

func TestALineOfACatalogSaysWhatItDescribes(t *testing.T) {
	e := sampleEntry()
	if want := "segments/2026/11/27/00000002-0000001000000000-0000001000000099.0.cbor.zst"; e.Key() != want {
		t.Errorf("%s, not %s", e.Key(), want)
	}
	got, err := ParseCatalog("2026-11-27", e.append(nil))
	if err != nil || len(got) != 1 || !got[0].same(&e) || got[0].Root != e.Root || got[0].Kinds["#commit"] != 99 || got[0].FirstLeaf != 77 {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := ParseCatalog("2026-11-28", e.append(nil)); err == nil {
		t.Error("it was taken for another day's")
	}
	if _, err := ParseCatalog("2026-11-27", e.append(e.append(nil))); err == nil {
		t.Error("a line that stands twice was taken")
	}
}

func FuzzParseCatalog(f *testing.F) {
	e := sampleEntry()
	line := e.append(nil)
	f.Add(line)
	f.Add(bytes.Replace(line, []byte("100"), []byte("-1"), 1))
	f.Add([]byte("{}\n"))
	f.Add([]byte("[1]\nnull\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		entries, err := ParseCatalog("2026-11-27", b)
		if err != nil {
			return
		}
		again, err := ParseCatalog("2026-11-27", encodeCatalog(entries))
		if err != nil || len(again) != len(entries) {
			t.Fatalf("written again it is %d of %d lines, %v", len(again), len(entries), err)
		}
		for i := range entries {
			if !entries[i].same(&again[i]) {
				t.Fatalf("line %d is another", i)
			}
		}
	})
}

func FuzzParseLease(f *testing.F) {
	l := Lease{Version: 1, Stream: "s", Epoch: 1, Holder: "h", Nonce: "n", Reserved: 5}
	f.Add(l.encode())
	f.Add([]byte(`{"version":1,"epoch":18446744073709551615}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		l, err := parseLease(b)
		if err != nil {
			return
		}
		again, err := parseLease(l.encode())
		if err != nil || !l.ours(&again) {
			t.Fatalf("%+v, then %+v, %v", l, again, err)
		}
	})
}
