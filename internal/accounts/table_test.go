package accounts

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/cistern-archive/cistern/index"
	"github.com/cistern-archive/cistern/segmentlog"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const alice = "did:plc:ewvi7nxzyoun6zhxrhs64oiz"

func repoAt(rev string, b byte) Repo {
	return Repo{Rev: fmt.Sprintf("%-13s", rev), Data: bytes.Repeat([]byte{b}, index.CIDSize), Commit: bytes.Repeat([]byte{b + 1}, index.CIDSize)}
}

// bench is a table whose changes are the records of a log, numbered as they come.
type bench struct {
	*Table
	t  *testing.T
	at uint64
}

func newBench(t *testing.T, o Options) *bench { return &bench{Table: NewTable(o), t: t} }

func (b *bench) hold(did string) Held {
	b.t.Helper()
	h, err := b.Acquire(did)
	if err != nil {
		b.t.Fatal(err)
	}
	return h
}

func (b *bench) apply(did string, c Change) {
	b.t.Helper()
	b.at++
	c.At = b.at
	h := b.hold(did)
	defer h.Release()
	h.Apply(&c)
}

func (b *bench) seen(did, host string, epoch, seq uint64) bool {
	b.t.Helper()
	h := b.hold(did)
	defer h.Release()
	return h.Seen(host, epoch, seq)
}

func (b *bench) get(did string) Account {
	b.t.Helper()
	a, _, err := b.Get(did)
	if err != nil {
		b.t.Fatal(err)
	}
	return a
}

func TestWhatIsAtOrBelowTheMarkWasSeen(t *testing.T) {
	tab := newBench(t, Options{})
	if tab.seen(alice, "a", 0, 0) {
		t.Error("an unknown account has seen something")
	}
	tab.apply(alice, Change{Host: "a", Epoch: 0, Seq: 90})
	tab.apply(alice, Change{Host: "a", Epoch: 1, Seq: 10})
	tab.apply(alice, Change{Host: "b", Epoch: 0, Seq: 3})
	for _, c := range []struct {
		host       string
		epoch, seq uint64
		want       bool
	}{
		{"a", 1, 9, true}, {"a", 1, 10, true}, {"a", 1, 11, false}, {"a", 0, 1000, true}, {"a", 2, 1, false},
		{"b", 0, 3, true}, {"b", 0, 4, false}, {"c", 0, 1, false},
	} {
		if got := tab.seen(alice, c.host, c.epoch, c.seq); got != c.want {
			t.Errorf("seen %s %d/%d = %v, want %v", c.host, c.epoch, c.seq, got, c.want)
		}
	}
}

func TestMarksAreBoundedAndThePresentHostKeepsIts(t *testing.T) {
	tab := newBench(t, Options{})
	tab.apply(alice, Change{Host: "home", Seq: 5, Verdict: segmentlog.Authority})
	for i := range 50 {
		tab.apply(alice, Change{Host: fmt.Sprintf("h%d", i), Seq: 1})
	}
	if !tab.seen(alice, "home", 0, 5) || !tab.seen(alice, "h49", 0, 1) || tab.seen(alice, "h0", 0, 1) {
		t.Error("the marks that should be kept are not, or all are")
	}
}

func TestOnlyAuthorityMovesAnAccount(t *testing.T) {
	tab := newBench(t, Options{})
	tab.apply(alice, Change{Host: "a", Seq: 1, Verdict: segmentlog.Authority})
	tab.apply(alice, Change{Host: "b", Seq: 1})
	if a := tab.get(alice); a.Host != "a" {
		t.Errorf("host %q, want a", a.Host)
	}
	tab.apply(alice, Change{Host: "b", Seq: 2, Verdict: segmentlog.Authority | segmentlog.Signature})
	if a := tab.get(alice); a.Host != "b" {
		t.Errorf("host %q, want b", a.Host)
	}
}

func TestEffectiveStatusIsOursUnlessThatIsActive(t *testing.T) {
	deactivated, takendown := StatusOf(false, "deactivated"), StatusOf(false, TakenDown)
	deleted := StatusOf(false, Deleted)
	own := segmentlog.Local
	tab := newBench(t, Options{})
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
		change := Change{Host: host, Seq: uint64(i), Verdict: c.v}
		change.SetStatus(c.s)
		tab.apply(alice, change)
		if a := tab.get(alice); a.Effective() != c.want {
			t.Errorf("step %d: effective %+v, want %+v", i, a.Effective(), c.want)
		}
	}
}

func TestWhatIsLiftedLeavesTheHostsWord(t *testing.T) {
	deactivated, takendown := StatusOf(false, "deactivated"), StatusOf(false, TakenDown)
	tab := newBench(t, Options{})
	set := func(v segmentlog.Verdict, s Status) {
		c := Change{Verdict: v}
		c.SetStatus(s)
		tab.apply(alice, c)
	}
	set(segmentlog.Local, takendown)
	set(segmentlog.Rewritten.WithHostStatus(false, "deactivated"), takendown)
	if a := tab.get(alice); a.Effective() != takendown || a.Upstream != deactivated {
		t.Fatalf("%+v, want taken down, and deactivated by its host", a)
	}
	set(segmentlog.Local.WithHostStatus(false, "deactivated"), deactivated)
	if a := tab.get(alice); a.Effective() != deactivated || a.Local != (Status{}) {
		t.Errorf("%+v, want deactivated by its host alone", a)
	}
	set(segmentlog.Rewritten, takendown) // of a log that did not keep the host's word
	if a := tab.get(alice); a.Upstream != deactivated {
		t.Errorf("%+v, want what was known", a)
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
	tab := newBench(t, Options{})
	tab.apply(alice, Change{Host: "a", Seq: 1, Repo: repoAt("rev1", 1)})
	was := tab.get(alice)
	tab.apply(alice, Change{Host: "a", Seq: 2, Repo: repoAt("rev2", 9)})
	if want := repoAt("rev1", 1); !reflect.DeepEqual(was.Repo, want) {
		t.Errorf("a copy changed: %+v", was.Repo)
	}
	tab.apply(alice, Change{Host: "a", Seq: 3})
	if now := tab.get(alice); !reflect.DeepEqual(now.Repo, repoAt("rev2", 9)) {
		t.Errorf("%+v, want rev2, which an event without a repo does not take away", now.Repo)
	}
}

func TestHoldersOfOneAccountFollowEachOtherAndReadersDoNotWait(t *testing.T) {
	tab := newBench(t, Options{})
	var wg sync.WaitGroup
	const each = 500
	for range 4 {
		wg.Go(func() {
			for range each {
				h, err := tab.Acquire(alice)
				if err != nil {
					t.Error(err)
					return
				}
				seq := uint64(1)
				if h.e != nil {
					seq = h.e.mark("a").Seq + 1
				}
				h.Apply(&Change{At: seq, Host: "a", Seq: seq, Repo: repoAt("rev", byte(seq))})
				h.Release()
			}
		})
	}
	wg.Wait()
	if !tab.seen(alice, "a", 0, 4*each) || tab.seen(alice, "a", 0, 4*each+1) {
		t.Error("increments were lost")
	}
	h := tab.hold(alice)
	if _, ok, err := tab.Get(alice); !ok || err != nil { // would hang if it waited for the holder
		t.Error("Get found nothing", err)
	}
	h.Release()
}

// memStore is an index that applies what it is told to, when it is told to.
type memStore struct {
	m       map[string]index.Account
	applied uint64
	err     error
}

func (s *memStore) Account(did string) (index.Account, bool, error) {
	a, ok := s.m[did]
	a.Marks = slices.Clone(a.Marks)
	return a, ok, s.err
}

func (s *memStore) Applied() uint64 { return s.applied }

func (s *memStore) follow(did string, c *Change) {
	var op index.Account
	c.Into(&op)
	a := s.m[did]
	a.Apply(&op)
	s.m[did] = a
	s.applied = c.At
}

// A table that keeps nearly nothing must answer as one that keeps all, however far the
// store is behind.
func TestATableThatForgetsAnswersAsOneThatDoesNot(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	store := &memStore{m: make(map[string]index.Account)}
	small, all := newBench(t, Options{Store: store, CacheBytes: 1}), newBench(t, Options{})
	type record struct {
		did string
		c   Change
	}
	var log []record // not yet in the store
	const dids = 3 * stripes
	for range 30_000 {
		did := fmt.Sprintf("did:plc:%d", rng.IntN(dids))
		host := fmt.Sprintf("h%d", rng.IntN(12))
		c := Change{Host: host, Seq: small.at + 1, Verdict: segmentlog.Verdict(rng.IntN(2)) * segmentlog.Authority}
		if rng.IntN(3) > 0 {
			c.Repo = repoAt(fmt.Sprint(small.at), byte(small.at))
		}
		if rng.IntN(4) == 0 {
			s := StatusOf(rng.IntN(2) == 0, []string{Deleted, TakenDown, ""}[rng.IntN(3)])
			if rng.IntN(3) == 0 {
				c.Host, c.Seq, c.Verdict = "", 0, segmentlog.Local
			}
			if rng.IntN(3) == 0 {
				c.Verdict = c.Verdict.WithHostStatus(rng.IntN(2) == 0, Deleted)
			}
			c.SetStatus(s)
		}
		small.apply(did, c)
		all.apply(did, c)
		c.At = small.at
		log = append(log, record{did, c})
		for len(log) > 0 && rng.IntN(len(log)+500) > 500 {
			store.follow(log[0].did, &log[0].c)
			log = log[1:]
		}
		did = fmt.Sprintf("did:plc:%d", rng.IntN(dids))
		if a, b := small.get(did), all.get(did); !reflect.DeepEqual(a, b) {
			t.Fatalf("%s is\n%+v, want\n%+v", did, a, b)
		}
		host = fmt.Sprintf("h%d", rng.IntN(12))
		if seq := rng.Uint64N(small.at); small.seen(did, host, 0, seq) != all.seen(did, host, 0, seq) {
			t.Fatalf("%s from %s: a duplicate for one table only", did, host)
		}
	}
	if kept := small.Stats(); kept.Misses <= dids || kept.Accounts >= all.Stats().Accounts {
		t.Errorf("the small table keeps %d accounts and missed %d: it did not forget", kept.Accounts, kept.Misses)
	}
}

func TestNothingIsHeldWhenTheStoreFails(t *testing.T) {
	broken := errors.New("broken")
	store := &memStore{err: broken}
	tab := NewTable(Options{Store: store})
	if _, err := tab.Acquire(alice); !errors.Is(err, broken) {
		t.Fatalf("%v, want %v", err, broken)
	}
	if _, _, err := tab.Get(alice); !errors.Is(err, broken) {
		t.Fatalf("%v, want %v", err, broken)
	}
	store.err = nil
	h, err := tab.Acquire(alice) // would hang if it were held
	if err != nil {
		t.Fatal(err)
	}
	h.Release()
}
