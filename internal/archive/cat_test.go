package archive

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cistern-archive/cistern/internal/frame"
	"github.com/cistern-archive/cistern/segmentlog/dagcbor"
)

func cat(t testing.TB, src *Source, o CatOptions) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := Cat(context.Background(), &out, src, o); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func events(t testing.TB, out []byte) (all []Event) {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(out))
	d.DisallowUnknownFields()
	for d.More() {
		var e Event
		if err := d.Decode(&e); err != nil {
			t.Fatal(err)
		}
		all = append(all, e)
	}
	return all
}

func TestRawFramesAreThoseThatWereServed(t *testing.T) {
	s := theSample(t)
	b := cat(t, find(t, s.dir), CatOptions{Raw: true})
	for i := range s.frames {
		n := binary.LittleEndian.Uint32(b)
		if !bytes.Equal(b[4:4+n], s.frames[i]) {
			t.Fatalf("frame %d differs", i)
		}
		b = b[4+n:]
	}
	if len(b) != 0 {
		t.Fatalf("%d bytes more", len(b))
	}
}

func TestEventsAreInJSONWithTheirRecords(t *testing.T) {
	s := theSample(t)
	all := events(t, cat(t, find(t, s.dir), CatOptions{}))
	if len(all) != len(s.frames) {
		t.Fatalf("%d events of %d", len(all), len(s.frames))
	}
	records, odd, kinds := 0, 0, map[string]int{}
	for i, e := range all {
		ev, err := frame.Parse(s.frames[i])
		if err != nil {
			t.Fatal(err)
		}
		at, err := time.Parse(time.RFC3339Nano, e.Witnessed)
		if err != nil || len(e.Witnessed) != len("2026-01-01T00:00:00.000000Z") || at.Year() != 2026 {
			t.Fatal(e.Witnessed, err)
		}
		if e.Seq != s.seqs[i] || e.DID != ev.DID || e.Kind != ev.Type || e.Rev != ev.Rev || len(e.Ops) != len(ev.Ops) ||
			(e.Active != nil) != (ev.Kind == frame.Account) || e.Error != "" || e.Erased {
			t.Fatalf("event %d: %+v", i, e)
		}
		kinds[e.Kind]++
		for j, op := range e.Ops {
			if op.Path != ev.Ops[j].Path || op.Action != ev.Ops[j].Action || (op.CID == "") != (op.Action == "delete") {
				t.Fatalf("event %d: %+v", i, op)
			}
			var rec map[string]any
			if op.Record != nil {
				if err := json.Unmarshal(op.Record, &rec); err != nil {
					t.Fatal(err)
				}
			}
			switch {
			case op.Error != "":
				odd++
				if op.Block == nil || op.Record != nil {
					t.Fatalf("event %d: %+v", i, op)
				}
			case op.Action == "delete":
			case rec["$type"] != strings.Split(op.Path, "/")[0]:
				t.Fatalf("event %d: %+v", i, op)
			default:
				records++
			}
		}
	}
	if records < 80 || odd < 3 || kinds["#commit"] == 0 || kinds["#account"] == 0 || kinds["#identity"] == 0 {
		t.Fatalf("%d records, %d odd ones, %v", records, odd, kinds)
	}
}

func TestLinksAndBytesHaveTheirJSONForm(t *testing.T) {
	link := append([]byte{1, 0x55, 0x12, 0x20}, bytes.Repeat([]byte{7}, 32)...)
	// {b: h'ff00fe', e: h'', l: link, n: -3, s: "<&>"}
	block := []byte{0xa5, 0x61, 'b', 0x43, 0xff, 0, 0xfe, 0x61, 'e', 0x40, 0x61, 'l'}
	block = dagcbor.AppendCID(block, link)
	block = append(block, 0x61, 'n', 0x22, 0x61, 's', 0x63, '<', '&', '>')
	var op Op
	op.decode(block)
	b, err := plainJSON(op)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"action":"","path":"","record":{"b":{"$bytes":"/wD+"},"e":{"$bytes":""},"l":{"$link":"` + cidText(link) + `"},"n":-3,"s":"<&>"}}`
	if string(b) != want {
		t.Errorf("%s\nwant\n%s", b, want)
	}
	op = Op{}
	op.decode([]byte{0xa1, 0x61, 'f', 0xfb, 0x3f, 0xf8, 0, 0, 0, 0, 0, 0}) // {f: 1.5}
	if op.Error == "" || op.Record != nil || len(*op.Block) != 12 {
		t.Errorf("a float: %+v", op)
	}
}

// FuzzRecordJSON: any block of a frame has a JSON form.
func FuzzRecordJSON(f *testing.F) {
	f.Add([]byte{0xa1, 0x65, '$', 't', 'y', 'p', 'e', 0x61, 'x'})
	f.Add([]byte{0xa1, 0x61, 'f', 0xfb, 0x3f, 0xf8, 0, 0, 0, 0, 0, 0})
	f.Add(bytes.Repeat([]byte{0x81}, 1000))
	f.Add([]byte{0xa2, 0x65, '$', 't', 'y', 'p', 'e', 0x64, 'b', 'l', 'o', 'b', 0x63, 'r', 'e', 'f', 0xd8, 0x2a, 0x41, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		var op Op
		op.decode(b)
		if _, err := json.Marshal(op); err != nil {
			t.Fatal(err)
		}
	})
}

// TestFiltersChooseWhatAScanWouldChoose compares each filter with the same choice
// among all events.
func TestFiltersChooseWhatAScanWouldChoose(t *testing.T) {
	src := find(t, theSample(t).dir)
	all := events(t, cat(t, src, CatOptions{}))
	at := func(i int) time.Time {
		tm, err := time.Parse(time.RFC3339Nano, all[i].Witnessed)
		if err != nil {
			t.Fatal(err)
		}
		return tm
	}
	collection := ""
	for _, e := range all {
		if len(e.Ops) > 0 {
			collection, _, _ = strings.Cut(e.Ops[0].Path, "/")
		}
	}
	inCollection := func(e Event) bool {
		return slices.ContainsFunc(e.Ops, func(o Op) bool { return strings.HasPrefix(o.Path, collection+"/") })
	}
	mid, end := len(all)/3, 2*len(all)/3
	seqs := func(s string) (f Filter) {
		if err := f.ParseSeqs(s); err != nil {
			t.Fatal(err)
		}
		return f
	}
	for what, c := range map[string]struct {
		f    Filter
		want func(i int, e Event) bool
	}{
		"did":        {Filter{DIDs: []string{all[mid].DID}}, func(_ int, e Event) bool { return e.DID == all[mid].DID }},
		"two dids":   {Filter{DIDs: []string{all[mid].DID, all[0].DID}}, func(_ int, e Event) bool { return e.DID == all[mid].DID || e.DID == all[0].DID }},
		"collection": {Filter{Collections: []string{collection}}, func(_ int, e Event) bool { return inCollection(e) }},
		"none such":  {Filter{Collections: []string{"com.example.none"}}, func(int, Event) bool { return false }},
		"since":      {Filter{Since: at(mid)}, func(i int, _ Event) bool { return !at(i).Before(at(mid)) }},
		"just after": {Filter{Since: at(mid).Add(1)}, func(i int, _ Event) bool { return at(i).After(at(mid)) }},
		"until":      {Filter{Until: at(end)}, func(i int, _ Event) bool { return at(i).Before(at(end)) }},
		"between":    {Filter{Since: at(mid), Until: at(end)}, func(i int, _ Event) bool { return !at(i).Before(at(mid)) && at(i).Before(at(end)) }},
		"one seq":    {seqs("17"), func(_ int, e Event) bool { return e.Seq == 17 }},
		"seqs":       {seqs("40-90"), func(_ int, e Event) bool { return e.Seq >= 40 && e.Seq <= 90 }},
		"from":       {seqs("100-"), func(_ int, e Event) bool { return e.Seq >= 100 }},
		"up to":      {seqs("-7"), func(_ int, e Event) bool { return e.Seq <= 7 }},
		"far away":   {seqs("9000000-"), func(int, Event) bool { return false }},
		"late":       {Filter{Since: at(0).AddDate(1, 0, 0)}, func(int, Event) bool { return false }},
		"all of them": {Filter{First: 30, Last: 150, Since: at(35), DIDs: []string{all[mid].DID}, Collections: []string{collection}},
			func(i int, e Event) bool {
				return e.Seq >= 30 && e.Seq <= 150 && !at(i).Before(at(35)) && e.DID == all[mid].DID && inCollection(e)
			}},
	} {
		var want []uint64
		for i, e := range all {
			if c.want(i, e) {
				want = append(want, e.Seq)
			}
		}
		var got []uint64
		for _, e := range events(t, cat(t, src, CatOptions{Filter: c.f})) {
			got = append(got, e.Seq)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
	}
	for _, bad := range []string{"", "-", "x", "0", "5-3", "1-2-3", "-0", "9007199254740992"} {
		if new(Filter).ParseSeqs(bad) == nil {
			t.Errorf("seqs %q", bad)
		}
	}
}

// TestOnlyTheBlocksThatMayHoldItAreRead damages every other block.
func TestOnlyTheBlocksThatMayHoldItAreRead(t *testing.T) {
	dir, files := theSample(t).copyOf(t)
	src := find(t, dir)
	info, err := src.Files[1].Inspect(context.Background())
	if err != nil || len(info.Blocks) < 3 {
		t.Fatal(info, err)
	}
	want := info.Blocks[1]
	for i, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for j := range info.Blocks {
			if i == 1 && j != 1 {
				b[info.Blocks[j].Offset+9] ^= 1
			}
		}
		if i != 1 {
			b[100] ^= 1
		}
		if err := os.WriteFile(f, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for what, f := range map[string]Filter{
		"seq":  {First: want.FirstSeq, Last: want.LastSeq},
		"time": {Since: time.UnixMicro(want.FirstWitnessed), Until: time.UnixMicro(want.LastWitnessed)},
	} {
		got := events(t, cat(t, src, CatOptions{Filter: f}))
		if len(got) < int(want.Records)-1 || got[0].Seq != want.FirstSeq {
			t.Errorf("%s: %d events", what, len(got))
		}
	}
	var out bytes.Buffer
	if err := Cat(context.Background(), &out, src, CatOptions{}); err == nil {
		t.Error("damage is read over")
	}
}

func TestAMissingSegmentIsToldWhileReading(t *testing.T) {
	s := theSample(t)
	var warned []string
	cat(t, find(t, s.files[0], s.files[2]), CatOptions{Warn: func(w string) { warned = append(warned, w) }})
	if len(warned) != 1 || !strings.Contains(warned[0], "in no file") {
		t.Fatal(warned)
	}
}

var errClosed = errors.New("injected: closed")

type closedWriter struct{}

func (closedWriter) Write([]byte) (int, error) { return 0, errClosed }

func TestAWriterThatFailsEndsTheReading(t *testing.T) {
	if err := Cat(context.Background(), closedWriter{}, find(t, theSample(t).dir), CatOptions{}); !errors.Is(err, errClosed) {
		t.Fatal(err)
	}
}
