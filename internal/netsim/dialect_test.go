package netsim

import (
	"bytes"
	"crypto/sha256"
	"slices"
	"testing"

	"github.com/cistern-archive/cistern/segmentlog"
	"github.com/fxamacker/cbor/v2"
)

// asServed re-encodes a readable frame as row 7 of docs/verification.md says, with a general CBOR
// library: keys sorted, absent fields filled in, null prevs left out, seq 0.
func asServed(t *testing.T, frame []byte) []byte {
	t.Helper()
	enc, err := cbor.EncOptions{Sort: cbor.SortLengthFirst}.EncMode()
	if err != nil {
		t.Fatal(err)
	}
	var header, payload map[string]any
	dec := cbor.NewDecoder(bytes.NewReader(frame))
	if err := dec.Decode(&header); err != nil {
		t.Fatal(err)
	}
	if err := dec.Decode(&payload); err != nil {
		t.Fatal(err)
	}
	payload["seq"] = 0
	for key, val := range map[string]any{"rebase": false, "tooBig": false, "blobs": []any{}, "since": nil} {
		if _, ok := payload[key]; !ok {
			payload[key] = val
		}
	}
	if v, ok := payload["prevData"]; ok && v == nil {
		delete(payload, "prevData")
	}
	ops, ok := payload["ops"].([]any)
	if !ok {
		t.Fatal("no ops")
	}
	for _, o := range ops {
		m, ok := o.(map[any]any)
		if !ok {
			t.Fatalf("op %v", o)
		}
		if v, ok := m["prev"]; ok && v == nil {
			delete(m, "prev")
		}
	}
	var out bytes.Buffer
	for _, m := range []any{header, payload} {
		b, err := enc.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		out.Write(b)
	}
	return out.Bytes()
}

// beyondIndigo are dialects that the reference implementation's check cannot take,
// although the specification allows them.
var beyondIndigo = []string{
	"empty-commit-bare",    // it wants the root node
	"unknown-commit-field", // it forgets the field before it checks the signature
	"indefinite-map",       // its decoder reads stated lengths only
	"wide-ints",            // its decoder wants the shortest form
	"past-key",             // it was given the newest key
}

func TestEveryDialectIsHonest(t *testing.T) {
	n := offline(t, Options{Seed: 4, Hosts: 2, Accounts: 4, Records: 60, Churn: -1})
	h := n.Host(0)
	for i, d := range Dialects() {
		a := h.Account(i % 4)
		if _, err := h.Post(a); err != nil {
			t.Fatal(err)
		}
		e, err := h.Speak(a, d.Name)
		if err != nil {
			t.Errorf("%s: %v", d.Name, err)
			continue
		}
		if e.Dialect != d.Name || e.Outcome != Accept || !e.Flags.Has(d.Flags) {
			t.Errorf("%s: entry %v, flags %v", d.Name, e, e.Flags)
		}
		frame, err := n.Frame(e.Index)
		if err != nil {
			t.Fatal(err)
		}
		if e.Kind == "#commit" && !slices.Contains(beyondIndigo, d.Name) {
			if err := verifyFrame(n, frame); err != nil {
				t.Errorf("%s: %v", d.Name, err)
			}
		}
		p, err := Peek(frame)
		if d.Flags.Has(segmentlog.Reencoded) {
			if served := asServed(t, frame); sha256.Sum256(served) != e.Want {
				t.Errorf("%s: the expected frame is not the canonical form of the sent one", d.Name)
			}
			if e.SHA256 == e.Want {
				t.Errorf("%s: nothing to re-encode", d.Name)
			}
		} else if err != nil || p.Digest != e.Want || e.SHA256 != e.Want {
			t.Errorf("%s: canonical, but expected to be served otherwise (%v)", d.Name, err)
		}
		if a.status == "" {
			if _, err := h.Post(a); err != nil {
				t.Errorf("%s: the account cannot go on: %v", d.Name, err)
			}
		}
	}
	checkChain(t, n)
}

// checkChain follows every account through the ledger: each accepted commit has a rev
// above the one before.
func checkChain(t *testing.T, n *Network) {
	t.Helper()
	last := map[string]string{}
	for _, e := range n.Ledger() {
		if e.Kind != "#commit" || e.Outcome != Accept {
			continue
		}
		if e.Rev <= last[e.DID] {
			t.Errorf("%v: rev after %s", e, last[e.DID])
		}
		last[e.DID] = e.Rev
	}
}

func TestTrafficMixesDialectsAndLies(t *testing.T) {
	n := offline(t, Options{Seed: 8, Hosts: 3, Accounts: 5, Records: 40, DialectRate: 0.3, LieRate: 0.2})
	step(t, n, 1500)
	spoken, told := map[string]bool{}, map[string]bool{}
	for _, e := range n.Ledger() {
		spoken[e.Dialect] = true
		told[e.Lie] = true
	}
	for _, name := range mixedDialects {
		if !spoken[name] {
			t.Errorf("dialect %s was not spoken", name)
		}
	}
	missing := 0
	for _, name := range mixedLies {
		if !told[name] {
			missing++
		}
	}
	if missing > len(mixedLies)/4 {
		t.Errorf("%d of %d lies were not told in 300 chances", missing, len(mixedLies))
	}
	checkChain(t, n)
}

func TestHostSpeaksItsDialects(t *testing.T) {
	n := offline(t, Options{Accounts: 3, Records: 20, Churn: -1})
	n.Host(0).SetDialects("absent-toobig")
	step(t, n, 10)
	for _, e := range n.Ledger() {
		if e.Dialect != "absent-toobig" {
			t.Errorf("%v", e)
		}
	}
}
