package verify

import (
	"testing"

	"github.com/cistern-archive/cistern/internal/frame"
	"github.com/cistern-archive/cistern/segmentlog"
)

// first makes the first commit of a repo; it has neither since nor prevData.
func first(t *testing.T) (*testRepo, *draft) {
	t.Helper()
	r := newRepo(t, 5)
	return r, r.apply(false, r.put(testKeys[0][0]), r.put(testKeys[1][0]))
}

// T36: commits without prevData, and T37: the first that is seen of an account.
func TestGenesisRules(t *testing.T) {
	const genesis = segmentlog.Signature | segmentlog.Inversion
	stored := State{Rev: "2222222222222", Data: sum([]byte("stored")), Commit: sum([]byte("commit"))}
	cases := []struct {
		name    string
		alter   func(d *draft)
		after   func(ev *frame.Event)
		state   State
		verdict segmentlog.Verdict
		row     int
	}{
		{"T36 inverts to the empty tree, nothing stored", nil, nil, State{}, genesis | segmentlog.FirstSeen, 0},
		{"T36 inverts to the empty tree, something stored", nil, nil, stored, genesis | segmentlog.Discontinuous, 0},
		{"T36 does not invert to the empty tree, nothing stored", nil, func(ev *frame.Event) { ev.Ops = ev.Ops[:1] }, State{}, segmentlog.Signature | segmentlog.Unproven, 0},
		{"T36 does not invert to the empty tree, something stored", nil, func(ev *frame.Event) { ev.Ops = ev.Ops[:1] }, stored, 0, 36},
		{"T36 nodes absent, nothing stored", func(d *draft) { d.nodes = nil }, nil, State{}, segmentlog.Signature | segmentlog.Unproven, 0},
		{"T36 nodes absent, something stored", func(d *draft) { d.nodes = nil }, nil, stored, 0, 36},
		{"T36 since without prevData, nothing stored", nil, func(ev *frame.Event) { ev.Since = "2222222222222" }, State{}, 0, 36},
		{"T36 since without prevData, something stored", nil, func(ev *frame.Event) { ev.Since = stored.Rev }, stored, 0, 36},
		{"T37 prevData, nothing stored", nil, func(ev *frame.Event) { ev.PrevData = emptyTree[:] }, State{}, genesis | segmentlog.FirstSeen, 0},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r, d := first(t)
			if c.alter != nil {
				c.alter(d)
			}
			ev := d.event()
			if c.after != nil {
				c.after(ev)
			}
			v := testVerifier()
			got, err := v.Commit(ev, r.key, c.state)
			if c.row == 0 {
				if err != nil || got.Verdict != c.verdict {
					t.Fatalf("%s, %v, want %s", got.Verdict, err, c.verdict)
				}
				return
			}
			wantRejected(t, err, c.row, Drop, "no_prev_data")
			v.opt.Lenient = true
			got, err = v.Commit(ev, r.key, c.state)
			if err != nil || !got.Verdict.Has(segmentlog.Lenient) || got.Verdict.Has(segmentlog.Inversion) {
				t.Fatalf("lenient: %s, %v", got.Verdict, err)
			}
		})
	}
}

// The first commit of the reference PDS has no ops, no since and no prevData.
func TestEmptyFirstCommitIsProven(t *testing.T) {
	r := newRepo(t, 6)
	d := r.apply(false)
	got, err := testVerifier().Commit(d.event(), r.key, State{})
	want := segmentlog.Signature | segmentlog.Inversion | segmentlog.FirstSeen
	if err != nil || got.Verdict != want {
		t.Fatalf("%s, %v, want %s", got.Verdict, err, want)
	}
}

// T36 does not excuse what other rows drop.
func TestUnprovenCommitsAreCheckedOtherwise(t *testing.T) {
	r, d := first(t)
	ev := d.event()
	ev.Ops[0].CID = sum([]byte("other"))
	_, err := testVerifier().Commit(ev, r.key, State{})
	wantRejected(t, err, 31, Drop, "op_cid_mismatch")
	r, d = first(t)
	d.records = nil
	_, err = testVerifier().Commit(d.event(), r.key, State{})
	wantRejected(t, err, 31, Drop, "record_absent")
}

// T38: a commit that holds by itself passes whatever was stored, and its state is the
// new one, so that the commit after it chains again.
func TestChainRules(t *testing.T) {
	r, state := known(t)
	d := r.next()
	fixSignature(d)
	ev := d.event()
	v := testVerifier()
	check := func(name string, state State, flags segmentlog.Verdict) State {
		t.Helper()
		got, err := v.Commit(ev, r.key, state)
		if want := segmentlog.Signature | segmentlog.Inversion | flags; err != nil || got.Verdict != want {
			t.Fatalf("%s: %s, %v, want %s", name, got.Verdict, err, want)
		}
		return got.State
	}
	check("in order", state, segmentlog.Chain)
	check("nothing stored", State{}, segmentlog.FirstSeen)
	broken := state
	broken.Data = sum([]byte("elsewhere"))
	after := check("prevData differs", broken, segmentlog.Discontinuous)
	late := state
	late.Rev = "2222222222222"
	check("only since differs", late, segmentlog.Chain|segmentlog.SinceMismatch)
	ev.Since = ""
	check("only since is null", state, segmentlog.Chain|segmentlog.SinceMismatch)
	ev.Since = "2222222222222"
	check("both differ", broken, segmentlog.Discontinuous)

	got, err := v.Commit(r.apply(false, r.put(testKeys[1][61])).event(), r.key, after)
	if err != nil || got.Verdict != honest {
		t.Fatalf("after a break: %s, %v", got.Verdict, err)
	}
}

// The state does not alias the frame, which callers reuse.
func TestStateOutlivesTheFrame(t *testing.T) {
	r, state := known(t)
	ev := r.next().event()
	got, err := testVerifier().Commit(ev, r.key, state)
	if err != nil {
		t.Fatal(err)
	}
	rev, data, commit := got.State.Rev, string(got.State.Data), string(got.State.Commit)
	clear(ev.Blocks)
	if got.State.Rev != rev || string(got.State.Data) != data || string(got.State.Commit) != commit {
		t.Fatal("the state changed with the frame")
	}
}

// StateOf reads what Commit and Sync verified, and says what is wrong with anything else.
func TestStateOfReadsTheCommitBlock(t *testing.T) {
	r, state := known(t)
	d := r.next()
	fixSignature(d)
	ev := d.event()
	want, err := testVerifier().Commit(ev, r.key, state)
	if err != nil {
		t.Fatal(err)
	}
	for _, ev := range []*frame.Event{ev, d.sync()} {
		got, err := StateOf(ev)
		if err != nil || got.Rev != want.State.Rev || string(got.Data) != string(want.State.Data) || string(got.Commit) != string(want.State.Commit) {
			t.Errorf("got %v, %v, want %v", got, err, want.State)
		}
	}
	for n := range ev.Blocks {
		short := *ev
		short.Blocks = ev.Blocks[:n]
		if got, err := StateOf(&short); err == nil && got.Rev != want.State.Rev {
			t.Fatalf("%d bytes: %v", n, got)
		}
	}
	if _, err := StateOf(&frame.Event{DID: testDID}); err == nil {
		t.Error("no blocks gave a state")
	}
}
