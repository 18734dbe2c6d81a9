package accounts

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/cistern-archive/cistern/segmentlog"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const alice = "did:plc:ewvi7nxzyoun6zhxrhs64oiz"

func repoAt(rev string, b byte) Repo {
	return Repo{Rev: rev, Data: bytes.Repeat([]byte{b}, cidLen), Commit: bytes.Repeat([]byte{b + 1}, cidLen)}
}

func seen(t *Table, did, host string, epoch, seq uint64) bool {
	h := t.Acquire(did)
	defer h.Release()
	return h.Seen(host, epoch, seq)
}

func TestAMarkNeverGoesBack(t *testing.T) {
	tab := NewTable()
	if seen(tab, alice, "a", 0, 0) {
		t.Error("an unknown account has seen something")
	}
	tab.Apply(alice, &Change{Host: "a", Epoch: 1, Seq: 10})
	tab.Apply(alice, &Change{Host: "a", Epoch: 1, Seq: 7})
	tab.Apply(alice, &Change{Host: "a", Epoch: 0, Seq: 90})
	tab.Apply(alice, &Change{Host: "b", Epoch: 0, Seq: 3})
	for _, c := range []struct {
		host       string
		epoch, seq uint64
		want       bool
	}{
		{"a", 1, 9, true}, {"a", 1, 10, true}, {"a", 1, 11, false}, {"a", 0, 1000, true}, {"a", 2, 1, false},
		{"b", 0, 3, true}, {"b", 0, 4, false}, {"c", 0, 1, false},
	} {
		if got := seen(tab, alice, c.host, c.epoch, c.seq); got != c.want {
			t.Errorf("seen %s %d/%d = %v, want %v", c.host, c.epoch, c.seq, got, c.want)
		}
	}
}

func TestMarksAreBoundedAndThePresentHostKeepsIts(t *testing.T) {
	tab := NewTable()
	tab.Apply(alice, &Change{Host: "home", Seq: 5, Verdict: segmentlog.Authority})
	for i := range 50 {
		tab.Apply(alice, &Change{Host: fmt.Sprintf("h%d", i), Seq: 1})
	}
	if !seen(tab, alice, "home", 0, 5) || !seen(tab, alice, "h49", 0, 1) || seen(tab, alice, "h0", 0, 1) {
		t.Error("the marks that should be kept are not, or all are")
	}
	h := tab.Acquire(alice)
	defer h.Release()
	if n := 1 + len(h.e.more); n != maxMarks {
		t.Errorf("%d marks, want %d", n, maxMarks)
	}
}

func TestOnlyAuthorityMovesAnAccount(t *testing.T) {
	tab := NewTable()
	tab.Apply(alice, &Change{Host: "a", Seq: 1, Verdict: segmentlog.Authority})
	tab.Apply(alice, &Change{Host: "b", Seq: 1})
	if a, _ := tab.Get(alice); a.Host != "a" {
		t.Errorf("host %q, want a", a.Host)
	}
	tab.Apply(alice, &Change{Host: "b", Seq: 2, Verdict: segmentlog.Authority | segmentlog.Signature})
	if a, _ := tab.Get(alice); a.Host != "b" {
		t.Errorf("host %q, want b", a.Host)
	}
}

func TestEffectiveStatusIsOursUnlessThatIsActive(t *testing.T) {
	deactivated, takendown := StatusOf(false, "deactivated"), StatusOf(false, TakenDown)
	deleted := StatusOf(false, Deleted)
	own := segmentlog.Local
	tab := NewTable()
	for i, c := range []struct {
		s    Status
		v    segmentlog.Verdict
		want Status
	}{
		{deactivated, 0, deactivated},
		{takendown, own, takendown},
		{Status{}, 0, takendown}, // the host has no say while ours holds
		{deactivated, 0, takendown},
		{Status{}, own, Status{}}, // ours holds for both
		{deleted, own, deleted},   // a tombstone is the host's side of it
		{Status{}, 0, Status{}},
	} {
		host := "a"
		if c.v == own {
			host = ""
		}
		tab.Apply(alice, &Change{Host: host, Seq: uint64(i), Verdict: c.v, Status: &c.s})
		if a, _ := tab.Get(alice); a.Effective() != c.want {
			t.Errorf("step %d: effective %+v, want %+v", i, a.Effective(), c.want)
		}
	}
}

func TestAStatusTextIsBounded(t *testing.T) {
	if s := StatusOf(false, strings.Repeat("x", maxReason+1)); !s.Inactive || s.Reason != "" {
		t.Errorf("%+v, want inactive without a reason", s)
	}
	if s := StatusOf(true, "takendown"); s.Inactive {
		t.Error("active with a status is inactive")
	}
}

func TestWhatIsReadStaysAsItWas(t *testing.T) {
	tab := NewTable()
	tab.Apply(alice, &Change{Host: "a", Seq: 1, Repo: repoAt("rev1", 1)})
	was, _ := tab.Get(alice)
	tab.Apply(alice, &Change{Host: "a", Seq: 2, Repo: repoAt("rev2", 9)})
	want := repoAt("rev1", 1)
	if was.Repo.Rev != want.Rev || !bytes.Equal(was.Repo.Data, want.Data) || !bytes.Equal(was.Repo.Commit, want.Commit) {
		t.Errorf("a copy changed: %+v", was.Repo)
	}
	if now, _ := tab.Get(alice); now.Repo.Rev != "rev2" || now.Repo.Data[0] != 9 {
		t.Errorf("%+v, want rev2", now.Repo)
	}
	tab.Apply(alice, &Change{Host: "a", Seq: 3})
	if now, _ := tab.Get(alice); now.Repo.Rev != "rev2" {
		t.Error("an event without a repo took it away")
	}
}

func TestHoldersOfOneAccountFollowEachOtherAndReadersDoNotWait(t *testing.T) {
	tab := NewTable()
	var wg sync.WaitGroup
	const each = 500
	for range 4 {
		wg.Go(func() {
			for range each {
				h := tab.Acquire(alice)
				seq := uint64(1)
				if h.e != nil {
					seq = h.e.first.seq + 1
				}
				h.Apply(&Change{Host: "a", Seq: seq, Repo: repoAt("rev", byte(seq))})
				h.Release()
			}
		})
	}
	wg.Wait()
	if !seen(tab, alice, "a", 0, 4*each) || seen(tab, alice, "a", 0, 4*each+1) {
		t.Error("increments were lost")
	}
	h := tab.Acquire(alice)
	if _, ok := tab.Get(alice); !ok { // would hang if it waited for the holder
		t.Error("Get found nothing")
	}
	h.Release()
	n := 0
	for did, a := range tab.All() {
		if n++; did != alice || a.Repo.Rev != "rev" {
			t.Errorf("%s: %+v", did, a)
		}
	}
	if n != 1 || tab.Len() != 1 {
		t.Errorf("%d accounts, Len %d", n, tab.Len())
	}
}
