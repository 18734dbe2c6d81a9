package verify

import (
	"errors"
	"testing"

	"github.com/cistern-archive/cistern/internal/frame"
	"github.com/cistern-archive/cistern/segmentlog"
)

// wantRejected checks a rejection's row, action and reason.
func wantRejected(t *testing.T, err error, row int, action Action, reason string) {
	t.Helper()
	var rej *Rejection
	if !errors.As(err, &rej) {
		t.Fatalf("got %v, want T%d %s", err, row, reason)
	}
	if rej.Row != row || rej.Action != action || rej.Reason != reason {
		t.Fatalf("got %v with action %d, want T%d %s with action %d", err, rej.Action, row, reason, action)
	}
}

// known returns a repo with some history, and its stored state.
func known(t *testing.T) (*testRepo, State) {
	t.Helper()
	r := newRepo(t, 11)
	for _, h := range []int{0, 0, 0, 0, 1, 0, 0, 2, 0, 1, 0, 0} {
		r.apply(false, r.put(testKeys[h][len(r.values)]))
	}
	d := r.apply(false, r.put(testKeys[0][40]))
	got, err := testVerifier().Commit(d.event(), r.key, State{})
	if err != nil {
		t.Fatal(err)
	}
	return r, got.State
}

// next makes an honest commit of two ops on a known repo.
func (r *testRepo) next() *draft {
	return r.apply(false, r.put(testKeys[0][50]), change{path: testKeys[0][40]})
}

// rule is one condition of docs/verification.md: an honest commit, altered, and what
// becomes of it. A row of 0 means that it passes.
type rule struct {
	name   string
	alter  func(t *testing.T, d *draft)
	after  func(ev *frame.Event)
	row    int
	reason string
	flags  segmentlog.Verdict // beyond signature, inversion and chain, when it passes
	// lenient says that the condition is forgiven when lenient.
	lenient bool
}

const honest = segmentlog.Signature | segmentlog.Inversion | segmentlog.Chain

func checkRules(t *testing.T, rules []rule) {
	for _, c := range rules {
		t.Run(c.name, func(t *testing.T) {
			r, state := known(t)
			d := r.next()
			if c.alter != nil {
				c.alter(t, d)
			}
			ev := d.event()
			if c.after != nil {
				c.after(ev)
			}
			got, err := testVerifier().Commit(ev, r.key, state)
			if c.row == 0 {
				if err != nil || got.Verdict != honest|c.flags {
					t.Fatalf("got %s, %v, want %s", got.Verdict, err, honest|c.flags)
				}
				return
			}
			wantRejected(t, err, c.row, Drop, c.reason)
			lenient := testVerifier()
			lenient.opt.Lenient = true
			got, err = lenient.Commit(ev, r.key, state)
			if !c.lenient {
				wantRejected(t, err, c.row, Drop, c.reason)
				return
			}
			if err != nil || !got.Verdict.Has(segmentlog.Signature|segmentlog.Lenient) || got.Verdict.Has(segmentlog.Inversion) && c.row != 31 {
				t.Fatalf("lenient: got %s, %v", got.Verdict, err)
			}
			if got.State.Rev != ev.Rev {
				t.Fatalf("lenient: state is %v", got.State)
			}
		})
	}
}

// A rejected event leaves nothing behind: the next honest one passes with the same
// Verifier.
func TestHonestEventPassesAfterEachLie(t *testing.T) {
	v := testVerifier()
	for seed := range 100 {
		s := &script{[]byte{byte(seed), byte(seed * 7), 1, byte(seed), byte(seed * 3), byte(seed * 5), byte(seed), 3, byte(seed), byte(seed * 11), byte(seed), 9, byte(seed * 13)}}
		liar, lie := altered(t, s)
		if _, err := v.Commit(lie.event(), liar.key, State{}); err != nil && len(err.Error()) == 0 {
			t.Fatal("a rejection says nothing")
		}
		r, state := known(t)
		if got, err := v.Commit(r.next().event(), r.key, state); err != nil || got.Verdict != honest {
			t.Fatalf("seed %d: %s, %v", seed, got.Verdict, err)
		}
	}
}

// The alterations that the differential fuzz test makes do reach the rows that they
// are meant for.
func TestAlteredCommitsMeetEveryRowOfTheProof(t *testing.T) {
	rows := map[int]int{}
	for i := range 1500 {
		b := make([]byte, 20)
		for j := range b {
			b[j] = byte((i + 1) * (j + 3) * 2654435761 >> 7)
		}
		r, d := altered(t, &script{b})
		_, err := testVerifier().Commit(d.event(), r.key, State{})
		var rej *Rejection
		if errors.As(err, &rej) {
			rows[rej.Row]++
		} else {
			rows[0]++
		}
	}
	for _, row := range []int{0, 30, 31, 33, 34, 36} {
		if rows[row] < 5 {
			t.Errorf("T%d was met %d times: %v", row, rows[row], rows)
		}
	}
	t.Log(rows)
}
