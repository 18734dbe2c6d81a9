package netsim

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"

	comatproto "github.com/bluesky-social/indigo/api/atproto"
	"github.com/fxamacker/cbor/v2"
)

// verifyFrame checks a #commit frame with the reference implementation: a decode error
// or a panic counts as caught. Header and trailing bytes are not its business.
func verifyFrame(n *Network, frame []byte) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	var header any
	payload, err := cbor.UnmarshalFirst(frame, &header)
	if err != nil {
		return fmt.Errorf("header: %w", err)
	}
	var msg comatproto.SyncSubscribeRepos_Commit
	if err := msg.UnmarshalCBOR(bytes.NewReader(payload)); err != nil {
		return fmt.Errorf("decode: %w", err)
	}
	if n.Account(msg.Repo) == nil {
		return errors.New("no such account")
	}
	return verifyCommit(n, &msg)
}

// indigoMisses are the lies about commits that the reference implementation's proof
// check accepts: shown the frame alone, it finds nothing else wrong with it either.
var indigoMisses = slices.Concat(
	// rules of the stream, the host or the stored state, which it is not shown
	[]string{"commit-old-rev", "inactive-commit", "other-host-commit", "oversized-frame", "tombstoned-did", "unknown-op",
		"unknown-type", "rev-in-future", "seq-repeated", "seq-zero", "seq-too-large", "seq-negative"},
	// its decoder is lenient: it reads over unknown fields, doubled keys and what follows
	[]string{"bad-tag", "bad-utf8", "deep-nesting", "duplicate-key", "float-in-envelope", "frame-trailing-bytes",
		"missing-commit", "missing-seq", "commit-trailing-byte", "commit-unsorted"},
	// limits that are not the proof's business
	[]string{"blocks-too-large", "record-too-large", "too-many-ops", "record-not-cbor"},
	// rules that it does not check: the CAR root, absent prev and prevData, the shape of nodes
	[]string{"commit-not-root", "op-delete-without-prev", "op-update-without-prev", "prevdata-absent",
		"prevdata-and-since-absent", "tree-empty-node", "tree-key-twice", "tree-order", "tree-too-many-entries", "tree-wrong-depth"},
)

func TestEveryLieIsALie(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint("seed", seed), func(t *testing.T) { everyLieIsALie(t, seed) })
	}
}

func everyLieIsALie(t *testing.T, seed uint64) {
	n := offline(t, Options{Seed: seed, Hosts: 2, Accounts: 4, Records: 60, Churn: -1})
	step(t, n, 20)
	h := n.Host(0)
	var missed []string
	for _, l := range Lies() {
		var twin *message
		n.onTwin = func(_ string, m *message) { twin = m.clone() }
		a := h.Account(1)
		if _, err := h.Post(a); err != nil {
			t.Fatal(err)
		}
		rev, data := a.repo.rev, a.repo.data
		e, err := h.LieAbout(a, l.Name)
		if err != nil {
			t.Errorf("%s: %v", l.Name, err)
			continue
		}
		if e.Lie != l.Name || e.Row != l.Row || e.Outcome != l.Outcome || e.Closes != l.Closes {
			t.Errorf("%s: entry %v", l.Name, e)
		}
		frame, err := n.Frame(e.Index)
		if err != nil {
			t.Fatal(err)
		}
		if twin != nil {
			checkTwin(t, n, e, twin, frame)
		}
		if e.Kind == "#commit" && l.Name != "tree-exponential" && verifyFrame(n, frame) == nil {
			missed = append(missed, l.Name)
		}
		if a.repo.rev != rev || !bytes.Equal(a.repo.data, data) {
			t.Errorf("%s: moved the account's state", l.Name)
		}
		next, err := h.Post(a)
		if err != nil {
			t.Fatal(err)
		}
		frame, err = n.Frame(next.Index)
		if err != nil {
			t.Fatal(err)
		}
		msg := decodePayload[comatproto.SyncSubscribeRepos_Commit](t, frame)
		if *msg.Since != rev || verifyCommit(n, msg) != nil {
			t.Errorf("%s: the next honest commit does not follow on the last one", l.Name)
		}
	}
	slices.Sort(missed)
	want := slices.Sorted(slices.Values(indigoMisses))
	if !slices.Equal(missed, want) {
		t.Errorf("the reference accepts\n%q\nwant\n%q", missed, want)
	}
}

// checkTwin wants the twin to be honest, and the lie to be something else.
func checkTwin(t *testing.T, n *Network, e Entry, twin *message, lie []byte) {
	t.Helper()
	frame := twin.encode(e.HostSeq)
	if bytes.Equal(frame, lie) {
		t.Errorf("%s: nothing is wrong with it", e.Lie)
	}
	if _, err := Peek(frame); err != nil {
		t.Errorf("%s: the twin is not canonical: %v", e.Lie, err)
	}
	if string(twin.header[0].val) != string(text("#commit")) || n.Account(e.DID) == nil {
		return
	}
	if err := verifyFrame(n, frame); err != nil {
		t.Errorf("%s: the twin is not honest: %v", e.Lie, err)
	}
}

func TestLiesCoverTheTable(t *testing.T) {
	rows := map[int]int{}
	names := map[string]bool{}
	for _, l := range Lies() {
		rows[l.Row]++
		if names[l.Name] || l.About == "" {
			t.Errorf("lie %q is there twice, or says nothing", l.Name)
		}
		names[l.Name] = true
	}
	// 9, 12, 16, 17, 21, 37 and 38 have nothing to drop from the wire.
	for _, row := range []int{1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 13, 14, 15, 18, 19, 20, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36} {
		if rows[row] == 0 {
			t.Errorf("no lie for row %d", row)
		}
	}
	t.Logf("%d lies", len(names))
}
