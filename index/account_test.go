package index

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
)

// fold merges a run of changes in a random grouping. whole says that the run begins
// the log, where what is not kept may be forgotten for good.
func fold(rng *rand.Rand, run []Account, whole bool) Account {
	var a Account
	if len(run) == 1 {
		a = run[0]
		a.Marks = slices.Clone(a.Marks)
	} else {
		cut := 1 + rng.IntN(len(run)-1)
		older, newer := fold(rng, run[:cut], whole), fold(rng, run[cut:], false)
		older.Merge(&newer)
		a = older
	}
	a.bound(whole && rng.IntN(2) == 0)
	if rng.IntN(2) == 0 { // as an operand that was written and read
		var b Account
		if err := b.decode(a.append(nil), nil); err != nil {
			panic(err)
		}
		a = b
	}
	return a
}

func TestMergingIsAssociativeAndEqualsApplyingOneByOne(t *testing.T) {
	rng := seeded(t)
	forgot := 0
	for range rounds(t, 1000) {
		h := newHistory(rng)
		var run []Account
		w := newTruth()
		for n := 1 + rng.IntN(60); len(run) < n; {
			c := h.next(uint64(len(run) + 1))
			c.did = "did:plc:a"
			run = append(run, c.account)
			w.apply(uint64(len(run)), &c)
		}
		want := kept(w.accounts["did:plc:a"])
		if len(want.Marks) < len(w.accounts["did:plc:a"].Marks) {
			forgot++
		}
		one := Account{}
		for i := range run {
			one.Merge(&run[i])
			one.bound(true)
		}
		got := fold(rng, run, true)
		got.bound(true)
		for _, g := range []Account{one, got} {
			if g.Marks = slices.Clip(g.Marks); len(g.Marks) == 0 {
				g.Marks = nil
			}
			if !reflect.DeepEqual(g, want) {
				t.Fatalf("\n got %+v\nwant %+v", g, want)
			}
		}
	}
	if forgot == 0 {
		t.Error("no account had more hosts than are kept: the bound was not tried")
	}
}

func TestThePresentHostsMarkIsKeptHoweverLongAgoItSpoke(t *testing.T) {
	var a Account
	a.Merge(&Account{Set: HostField, Host: "home", Marks: []Mark{{Host: "home", At: 1, Seq: 5}}})
	for i := range 50 {
		a.Merge(&Account{Marks: []Mark{{Host: fmt.Sprint(i), At: uint64(i + 2), Seq: 1}}})
	}
	if len(a.Marks) != maxMarks+1 || a.Marks[0].Host != "49" || a.Marks[maxMarks].Host != "home" {
		t.Errorf("kept %+v", a.Marks)
	}
	a.Merge(&Account{Set: HostField, Host: "49", Marks: []Mark{{Host: "49", At: 99, Seq: 2}}})
	if len(a.Marks) != maxMarks || slices.ContainsFunc(a.Marks, func(m Mark) bool { return m.Host == "home" }) {
		t.Errorf("after it moved: kept %+v", a.Marks)
	}
}

func TestAnOlderRunDoesNotTakeAMarkBack(t *testing.T) {
	a := Account{Marks: []Mark{{Host: "a", At: 9, Epoch: 1, Seq: 3}}}
	a.Raise(Mark{Host: "a", At: 4, Epoch: 0, Seq: 90})
	if a.Marks[0].Seq != 3 {
		t.Errorf("%+v", a.Marks)
	}
}

func FuzzDecodeAccount(f *testing.F) {
	h := newHistory(rand.New(rand.NewPCG(1, 2)))
	for i := range 50 {
		c := h.next(uint64(i + 1))
		f.Add(c.account.append(nil))
	}
	f.Add([]byte{15, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, value []byte) {
		var a, b Account
		if a.decode(value, make(names)) != nil {
			return
		}
		if err := b.decode(a.append(nil), nil); err != nil {
			t.Fatalf("%x reads as %+v, which does not read back: %v", value, a, err)
		}
		if len(a.Marks) == 0 {
			a.Marks, b.Marks = nil, nil
		}
		if !reflect.DeepEqual(a, b) {
			t.Fatalf("%+v became %+v", a, b)
		}
		b.Merge(&a) // must not panic on marks that are out of order or of one host
		b.bound(true)
	})
}

func FuzzDecodeOthers(f *testing.F) {
	s := segment(1, 1, 99, 0)
	f.Add(s.append(nil))
	f.Add((&Host{Epoch: 3, Cursor: 1 << 40}).append(nil))
	f.Fuzz(func(t *testing.T, value []byte) {
		var s, s2 Segment
		if s.decode(value) == nil && (s2.decode(s.append(nil)) != nil || s != s2) {
			t.Fatalf("%+v became %+v", s, s2)
		}
		var h, h2 Host
		if h.decode(value) == nil && (h2.decode(h.append(nil)) != nil || h != h2) {
			t.Fatalf("%+v became %+v", h, h2)
		}
		d := decoder{b: value}
		d.name()
		d.block()
	})
}
