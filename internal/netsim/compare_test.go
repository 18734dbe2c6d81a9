package netsim

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// relayed is what a perfect relay would serve of the ledger: the accepted frames under
// numbers of its own. Dialects that it would re-encode are left out of these networks.
func relayed(t *testing.T, n *Network) ([][]byte, []Entry) {
	t.Helper()
	var out [][]byte
	ledger := n.Ledger()
	for i := range ledger {
		ledger[i].Sent = 1
		if ledger[i].Outcome != Accept {
			continue
		}
		frame, err := n.Frame(i)
		if err != nil {
			t.Fatal(err)
		}
		if frame, err = Splice(frame, uint64(len(out)+1)*3); err != nil {
			t.Fatal(err)
		}
		out = append(out, frame)
	}
	return out, ledger
}

func renumber(t *testing.T, frames [][]byte) [][]byte {
	t.Helper()
	for i := range frames {
		var err error
		if frames[i], err = Splice(frames[i], uint64(i+1)); err != nil {
			t.Fatal(err)
		}
	}
	return frames
}

func TestComparisonFindsEveryDeviation(t *testing.T) {
	n := offline(t, Options{Seed: 9, Hosts: 3, Accounts: 5, Records: 30, LieRate: 0.1})
	step(t, n, 300)
	frames, ledger := relayed(t, n)
	if r := Compare(ledger, frames); r.Err() != nil || r.Matched != len(frames) {
		t.Fatalf("a perfect relay: %v, %d of %d", r.Err(), r.Matched, len(frames))
	}
	lie := slices.IndexFunc(ledger, func(e Entry) bool { return e.Lie != "" && e.Kind == "#commit" && e.Row > 11 })
	lied, err := n.Frame(lie)
	if err != nil {
		t.Fatal(err)
	}
	k := slices.IndexFunc(frames[100:], func(f []byte) bool {
		p, err := Peek(f)
		return err == nil && p.Kind == "#commit"
	}) + 100
	cases := map[string]struct {
		bend func([][]byte) [][]byte
		says string
	}{
		"missing":    {func(f [][]byte) [][]byte { return slices.Delete(f, k, k+1) }, "1 missing"},
		"doubled":    {func(f [][]byte) [][]byte { return slices.Insert(f, k, f[k]) }, "1 doubled"},
		"forbidden":  {func(f [][]byte) [][]byte { return slices.Insert(f, k, lied) }, "1 served that must not be"},
		"altered":    {func(f [][]byte) [][]byte { return alter(f, k) }, "1 altered"},
		"unreadable": {func(f [][]byte) [][]byte { return append(f, []byte("?")) }, "1 unexpected"},
		"disordered": {func(f [][]byte) [][]byte { return swapOfOneAccount(t, f) }, "out of order"},
	}
	for name, c := range cases {
		bent := c.bend(slices.Clone(frames))
		if name != "unreadable" {
			bent = renumber(t, bent)
		}
		err := Compare(ledger, bent).Err()
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
	frames[5] = frames[4]
	if err := Compare(ledger, frames).Err(); err == nil || !strings.Contains(err.Error(), "bad numbers") {
		t.Errorf("a number twice: %v", err)
	}
}

// alter changes a byte of a CAR file, late in the frame.
func alter(frames [][]byte, k int) [][]byte {
	f := bytes.Clone(frames[k])
	i := bytes.Index(f, []byte("blocks")) + 200
	f[i] ^= 1
	frames[k] = f
	return frames
}

// swapOfOneAccount exchanges two events of one account.
func swapOfOneAccount(t *testing.T, frames [][]byte) [][]byte {
	t.Helper()
	first := map[string]int{}
	for i, f := range frames {
		p, err := Peek(f)
		if err != nil {
			t.Fatal(err)
		}
		if j, ok := first[p.DID]; ok {
			frames[i], frames[j] = frames[j], frames[i]
			return frames
		}
		first[p.DID] = i
	}
	t.Fatal("no account with two events")
	return nil
}

func TestRelaysOwnEventsAreLetBe(t *testing.T) {
	n := offline(t, Options{Accounts: 2, Records: 20, Churn: -1})
	step(t, n, 5)
	frames, ledger := relayed(t, n)
	own := accountMessage(n.Host(0).Account(0).DID, "takendown", "2026-01-02T00:00:00Z", false).encode(1000)
	c := NewComparison(ledger)
	c.Own = func(_ []byte, p Peeked) bool { return p.Kind == "#account" }
	for _, f := range append(frames, own) {
		c.Add(f)
	}
	if r := c.Report(); r.Err() != nil || r.Own != 1 {
		t.Errorf("%v, own %d", r.Err(), r.Own)
	}
}

func TestUnsentEventsAreReported(t *testing.T) {
	n := offline(t, Options{Accounts: 2, Records: 20})
	step(t, n, 3)
	if err := NewComparison(n.Ledger()).Report().Err(); err == nil || !strings.Contains(err.Error(), "3 never sent") {
		t.Errorf("%v", err)
	}
}

func TestSameSeedSameFrames(t *testing.T) {
	build := func(seed uint64) *Network {
		n := offline(t, Options{Seed: seed, Hosts: 3, Accounts: 4, Records: 40, Churn: 0.1, DialectRate: 0.1, LieRate: 0.1})
		step(t, n, 300)
		return n
	}
	a, b, other := build(1), build(1), build(2)
	if a.Len() != b.Len() {
		t.Fatalf("%d and %d entries", a.Len(), b.Len())
	}
	same := 0
	for i := range a.Len() {
		fa, err := a.Frame(i)
		if err != nil {
			t.Fatal(err)
		}
		fb, err := b.Frame(i)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(fa, fb) || a.Ledger()[i] != b.Ledger()[i] {
			t.Fatalf("entry %d differs: %v, %v", i, a.Ledger()[i], b.Ledger()[i])
		}
		if i < other.Len() && other.Ledger()[i].SHA256 == a.Ledger()[i].SHA256 {
			same++
		}
	}
	if same > 0 {
		t.Errorf("another seed gives %d of the same frames", same)
	}
}

func TestLedgerReadsBack(t *testing.T) {
	n := offline(t, Options{Seed: 3, Hosts: 2, Accounts: 3, Records: 20, DialectRate: 0.3, LieRate: 0.3})
	step(t, n, 100)
	var buf bytes.Buffer
	if err := WriteLedger(&buf, n.Ledger()); err != nil {
		t.Fatal(err)
	}
	got, err := ReadLedger(&buf)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(got, n.Ledger()) {
		t.Error("the ledger read back is another")
	}
	if _, err := ReadLedger(strings.NewReader(`{"index":0}` + "\n{")); err == nil {
		t.Error("a torn ledger is read without an error")
	}
}

func FuzzPeekAndSplice(f *testing.F) {
	n := offline(f, Options{Accounts: 2, Records: 20, LieRate: 0.3})
	step(f, n, 30)
	for i := range n.Len() {
		frame, err := n.Frame(i)
		if err != nil {
			f.Fatal(err)
		}
		if len(frame) < 20_000 {
			f.Add(frame)
		}
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		p, err := Peek(frame)
		if err != nil || p.seqTo == p.seqFrom {
			return
		}
		spliced, err := Splice(frame, rand.Uint64N(1<<53))
		if err != nil {
			t.Fatal(err)
		}
		back, err := Splice(spliced, p.Seq)
		if err != nil || !bytes.Equal(back, frame) {
			t.Fatalf("splicing there and back changed the frame (%v)", err)
		}
	})
}
