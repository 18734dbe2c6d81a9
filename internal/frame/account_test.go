package frame_test

import (
	"bytes"
	"reflect"
	"testing"
	"time"

	"github.com/cistern-archive/cistern/internal/frame"
)

func TestOurOwnAccountFramesAreLikeThoseOfAHost(t *testing.T) {
	at := time.Date(2026, 11, 23, 19, 45, 53, 123_000_000, time.FixedZone("", 3600))
	for _, status := range []string{"", "takendown", "deleted"} {
		ev := frame.NewAccount(testDID, at, status == "", status)
		raw := ev.AppendFrame(nil, 77)
		got := mustParse(t, raw)
		if got.Reencoded || got.Seq != 77 {
			t.Errorf("status %q: seq %d, reencoded %v", status, got.Seq, got.Reencoded)
		}
		sameAsIndigo(t, raw, got)
		got.Seq = 0
		if !reflect.DeepEqual(ev, got) {
			t.Errorf("status %q:\nmade   %+v\nparsed %+v", status, ev, got)
		}
		if ev.Time != testTime {
			t.Errorf("time is %s, want %s", ev.Time, testTime)
		}
	}
}

func TestRewritingAnAccountKeepsWhatItDoesNotConcern(t *testing.T) { // T16
	odd := f("unknown", list(nullItem, uintItem(3)))
	for name, from := range map[string][]field{
		"inactive with status": append(accountFields(), odd),
		"inactive without":     append(with(accountFields(), "status", nil), odd),
		"active":               append(with(with(accountFields(), "status", nil), "active", boolItem(true)), odd),
	} {
		for _, to := range []string{"", "takendown", "a status of more than twenty-three bytes"} {
			ev := mustParse(t, message("#account", from))
			got, err := ev.WithStatus(to == "", to)
			if err != nil {
				t.Fatal(err)
			}
			want := with(with(from, "active", boolItem(to == "")), "status", nil)
			if to != "" {
				want = with(want, "status", textItem(to))
			}
			if raw := got.AppendFrame(nil, got.Seq); !bytes.Equal(raw, message("#account", want)) {
				t.Errorf("%s to %q: got %x", name, to, raw)
			}
			if got.Seq != ev.Seq || got.Reencoded || got.Status != to || got.Active != (to == "") || got.Time != ev.Time {
				t.Errorf("%s to %q: got %+v", name, to, got)
			}
		}
	}
}

func TestARewrittenAccountStillSaysThatItWasReencoded(t *testing.T) { // T6 and T16
	ev := mustParse(t, append(unsorted(f("op", uintItem(1)), f("t", textItem("#account"))), object(accountFields()...)...))
	if got, err := ev.WithStatus(true, ""); err != nil || !got.Reencoded {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestOnlyAccountsAreRewritten(t *testing.T) { // T16
	for kind, raw := range samples() {
		if _, err := mustParse(t, raw).WithStatus(true, ""); (err == nil) != (kind == "#account") {
			t.Errorf("%s: error %v", kind, err)
		}
	}
	own, err := frame.NewAccount(testDID, time.Unix(0, 0), true, "").WithStatus(false, "deleted")
	if err != nil || own.Seq != 0 || own.Status != "deleted" {
		t.Errorf("an event of our own: %+v, %v", own, err)
	}
	if _, err := mustParse(t, samples()["#account"]).WithStatus(false, "\xff"); err == nil {
		t.Error("a status that is not UTF-8 passed")
	}
}
