package ledger

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// randomRow returns a row that could have been counted.
func randomRow(rng *rand.Rand) *Row {
	n := func() uint64 {
		switch rng.IntN(4) {
		case 0:
			return 0
		case 1:
			return rng.Uint64N(200)
		case 2:
			return rng.Uint64() >> (2 + rng.IntN(62))
		}
		return math.MaxUint64 >> 2 // three of them can be added
	}
	r := &Row{Counts: Counts{
		Received: n(), Bytes: n(), Kinds: [numKinds]uint64{n(), n(), n(), n()}, Infos: n(), Errors: n(),
		Connections: n(), Restarts: n(), Outdated: Gap{n(), n(), n()}, Resumed: Gap{n(), n(), n()},
	}}
	if rng.IntN(2) == 0 {
		last := n()
		r.Behind = Behind{Known: true, Last: last, Max: max(last, n())}
	}
	for i := range r.Flags {
		if rng.IntN(3) == 0 {
			r.Flags[i] = n()
		}
	}
	for i := range rng.IntN(20) {
		reason := fmt.Sprintf("reason_%02d", i)
		if i == 7 {
			reason = strings.Repeat("x", maxReason)
		}
		r.Outcomes = append(r.Outcomes, Reason{Outcome(1 + rng.IntN(numOutcomes)), reason, max(n(), 1)})
	}
	sortReasons(r.Outcomes)
	return r
}

func TestARowIsReadAsItWasWritten(t *testing.T) {
	rng := seeded(t)
	for range 300 {
		want := randomRow(rng)
		value := appendRow(nil, want)
		got := new(Row)
		if err := decodeRow(value, got); err != nil {
			t.Fatalf("%v: %+v", err, want)
		}
		same(t, got, want)
		for i := range value { // nothing shorter is a row
			if decodeRow(value[:i], new(Row)) == nil {
				t.Fatalf("%d of %d bytes are a row", i, len(value))
			}
		}
		if decodeRow(append(value, 0), new(Row)) == nil {
			t.Fatal("a byte too many is a row")
		}
	}
}

// Part of the format: stored rows of older programs stay readable.
func TestTheFormIsTheDocumentedOne(t *testing.T) {
	r := &Row{Counts: Counts{
		Received: 300, Bytes: 2, Kinds: [numKinds]uint64{3, 4, 5, 6}, Infos: 7, Errors: 8, Connections: 9, Restarts: 10,
		Outdated: Gap{11, 12, 13}, Resumed: Gap{14, 15, 16}, Skipped: Gap{23, 24, 25}, SkippedNumbers: 26, Behind: Behind{true, 17, 18},
	}, Outcomes: []Reason{{Dropped, "ab", 20}, {Ignored, "c", 21}}}
	r.Flags[19] = 22
	want := []byte{2, 0xac, 2, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 23, 24, 25, 26, 1, 17, 18, 1, 19, 22,
		2, 1, 2, 'a', 'b', 20, 2, 1, 'c', 21}
	same(t, appendRow(nil, r), want)
	first := append(append([]byte{1}, want[1:18]...), want[22:]...) // version 1
	got := new(Row)
	if err := decodeRow(first, got); err != nil {
		t.Fatal(err)
	}
	r.Skipped, r.SkippedNumbers = Gap{}, 0
	same(t, got, r)
	same(t, appendKey(nil, 0x1234, "h:1"), []byte{0, 0, 0, 0, 0, 0, 0x12, 0x34, 'h', ':', '1'})
}

func TestARowOfANewerVersionIsNotTakenForDamage(t *testing.T) {
	if err := decodeRow([]byte{rowVersion + 1, 0, 0}, new(Row)); !errors.Is(err, errVersion) {
		t.Error(err)
	}
}

// Adding is what counting on is: it does not matter how counts are grouped.
func TestAddingRowsIsAssociative(t *testing.T) {
	rng := seeded(t)
	for range 500 {
		a, b, c := randomRow(rng), randomRow(rng), randomRow(rng)
		left, right, bc := new(Row), new(Row), new(Row)
		for _, r := range []*Row{a, b, c} {
			left.add(r)
		}
		bc.add(b)
		bc.add(c)
		right.add(a)
		right.add(bc)
		same(t, left, right)
		if !slices.IsSortedFunc(left.Outcomes, byReason) {
			t.Fatal("not sorted")
		}
	}
}

func FuzzRow(f *testing.F) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 20 {
		f.Add(appendRow(nil, randomRow(rng)))
	}
	f.Add([]byte{1, 0x80, 0})
	f.Fuzz(func(t *testing.T, value []byte) {
		r := new(Row)
		if decodeRow(value, r) != nil || value[0] < rowVersion { // which is never written again
			return
		}
		if again := appendRow(nil, r); !slices.Equal(again, value) {
			t.Errorf("%x is read and written as %x", value, again)
		}
	})
}

func FuzzCursor(f *testing.F) {
	for _, s := range []string{"", ".", "1.", "490900.pds.example.com:8080", "-1.a", "01.a", "9223372036854775808.a", "1.a\x00"} {
		f.Add(s)
	}
	l := open(f, Options{Now: newClock().now})
	l.Host("a").Received(1)
	f.Fuzz(func(t *testing.T, s string) {
		p, err := parseCursor(s)
		if err == nil && p.cursor() != s {
			t.Errorf("%q is read as %+v", s, p)
		}
		page, qerr := l.Query(t.Context(), Query{Cursor: s, Limit: 1})
		if s != "" && (err == nil) != (qerr == nil) {
			t.Errorf("%q: %v, but %v", s, err, qerr)
		}
		if len(page.Rows) > 1 || page.Cursor != "" {
			t.Errorf("%+v", page)
		}
	})
}
