package frame_test

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"github.com/cistern-archive/cistern/internal/frame"
)

func TestAbsentDeprecatedFieldsAreFilledIn(t *testing.T) { // T7
	defaults := map[string]item{"rebase": boolItem(false), "tooBig": boolItem(false), "blobs": emptyList, "since": nullItem}
	names := []string{"blobs", "rebase", "since", "tooBig"}
	for set := 1; set < 1<<len(names); set++ {
		short, full := commitFields(), commitFields()
		var gone []string
		for i, name := range names {
			if set&(1<<i) != 0 {
				gone = append(gone, name)
				short, full = with(short, name, nil), with(full, name, defaults[name])
			}
		}
		ev := reencodes(t, message("#commit", short))
		if got := ev.AppendFrame(nil, ev.Seq); !bytes.Equal(got, message("#commit", full)) {
			t.Errorf("without %v: not what the lexicon's defaults give", gone)
		}
	}
}

func TestNullPrevDataAndPrevAreRemoved(t *testing.T) { // T7
	nulled := object(with(opFields(), "prev", nullItem)...)
	plain := object(with(opFields(), "prev", nil)...)
	kept := object(opFields()...)
	for name, c := range map[string]struct{ raw, want []field }{
		"prevData": {with(commitFields(), "prevData", nullItem), with(commitFields(), "prevData", nil)},
		"prev":     {with(commitFields(), "ops", list(kept, nulled, kept)), with(commitFields(), "ops", list(kept, plain, kept))},
		"both": {
			with(with(commitFields(), "ops", list(nulled)), "prevData", nullItem),
			with(with(commitFields(), "ops", list(plain)), "prevData", nil),
		},
		"unknown null stays": {
			append(with(commitFields(), "prevData", nullItem), f("prevDaty", nullItem)),
			append(with(commitFields(), "prevData", nil), f("prevDaty", nullItem)),
		},
	} {
		ev := reencodes(t, message("#commit", c.raw))
		if got := ev.AppendFrame(nil, ev.Seq); !bytes.Equal(got, message("#commit", c.want)) {
			t.Errorf("%s: got %x", name, got)
		}
	}
}

func TestOtherKindsAreNotRepaired(t *testing.T) { // T7
	for kind, fields := range map[string][]field{"#sync": syncFields(), "#identity": identityFields(), "#account": accountFields()} {
		raw := message(kind, append(fields, f("prevData", nullItem)))
		if ev := mustParse(t, raw); ev.Reencoded {
			t.Errorf("%s: repaired", kind)
		}
	}
}

func TestAFrameMayNeedBothEncodingAndRepair(t *testing.T) { // T6 and T7
	fields := with(with(commitFields(), "rebase", nil), "prevData", nullItem)
	slices.Reverse(fields)
	raw := slices.Concat(unsorted(f("op", uintItem(1)), f("t", textItem("#commit"))), unsorted(fields...))
	ev := reencodes(t, raw)
	want := message("#commit", with(with(commitFields(), "rebase", boolItem(false)), "prevData", nil))
	if got := ev.AppendFrame(nil, ev.Seq); !bytes.Equal(got, want) {
		t.Errorf("want %x\ngot  %x", want, got)
	}
}

func TestRepairGrowsTheHeadOfALargeMap(t *testing.T) { // T7
	fields := with(commitFields(), "rebase", nil)
	for i := len(fields); i < 23; i++ {
		fields = append(fields, f(fmt.Sprintf("x%d", i), nullItem))
	}
	ev := reencodes(t, message("#commit", fields)) // 23 pairs become 24: a head of two bytes
	if got := ev.AppendFrame(nil, ev.Seq); !bytes.Equal(got, message("#commit", with(fields, "rebase", boolItem(false)))) {
		t.Error("the 24th pair came out wrong")
	}
	if _, err := frame.Splice(message("#commit", fields), 7); err != nil {
		t.Error(err)
	}
}
