package index

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	testDir    = "data/index"
	testStream = "00112233445566778899aabbccddeeff"
)

// seeded gives a random source; CISTERN_TEST_SEED repeats a run.
func seeded(t testing.TB) *rand.Rand {
	seed := rand.Uint64()
	if s := os.Getenv("CISTERN_TEST_SEED"); s != "" {
		v, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		seed = v
	}
	t.Logf("CISTERN_TEST_SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, 7))
}

// rounds is how often a test of chance is tried: n times, or CISTERN_TEST_ROUNDS
// times as often.
func rounds(t testing.TB, n int) int {
	s := os.Getenv("CISTERN_TEST_ROUNDS")
	if s == "" {
		return n
	}
	times, err := strconv.Atoi(s)
	if err != nil {
		t.Fatal(err)
	}
	return n * times
}

// logged collects what is logged.
type logged struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func options(fs vfs.FS, tip uint64) Options {
	return Options{
		Dir: testDir, FS: fs, Stream: testStream, Tip: tip,
		Logger: slog.New(slog.DiscardHandler), MemTableBytes: 256 << 10, CacheBytes: 1 << 20,
	}
}

func mustOpen(t testing.TB, o Options) *Index {
	t.Helper()
	x, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func mustClose(t testing.TB, x *Index) {
	t.Helper()
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
}

// change is what one record changes, as an ingest would make it.
type change struct {
	did        string
	account    Account
	host       Host
	collection string // "" for none
	second     uint64 // 0 for no new one
}

// history makes changes of few accounts and hosts, the seq of each being its place
// from 1 on.
type history struct {
	rng    *rand.Rand
	seqs   map[string]uint64 // by host
	second uint64
	spread int // how many accounts there are, by 32
}

func newHistory(rng *rand.Rand) *history {
	return &history{rng: rng, seqs: make(map[string]uint64), second: 1_700_000_000, spread: 3}
}

func (h *history) next(seq uint64) change {
	c := change{did: fmt.Sprintf("did:plc:%c%023d", "234567abcdefghijklmnopqrstuvwxyz"[h.rng.IntN(32)], h.rng.IntN(h.spread))}
	a := &c.account
	if h.rng.IntN(20) == 0 { // an event of our own
		h.status(a, h.rng.IntN(2) == 0, true)
		return c
	}
	host := fmt.Sprintf("pds%d.example.com", h.rng.IntN(12))
	h.seqs[host] += uint64(h.rng.IntN(300)) + 1
	c.host = Host{Name: host, Epoch: seq / 1000, Cursor: h.seqs[host] - 1}
	a.Raise(Mark{Host: host, At: seq, Epoch: seq / 1000, Seq: h.seqs[host]})
	if h.rng.IntN(3) > 0 {
		a.Set |= HostField
		a.Host = host
	}
	switch h.rng.IntN(6) {
	case 0:
		h.status(a, true, false)
	case 1:
	default:
		a.Set |= RepoField
		copy(a.Repo.Rev[:], fmt.Sprintf("%013d", seq))
		a.Repo.Data[0], a.Repo.Commit[CIDSize-1] = byte(seq), byte(seq>>8)
		c.collection = fmt.Sprintf("app.example.c%d", h.rng.IntN(5))
	}
	if h.rng.IntN(4) == 0 {
		h.second += uint64(h.rng.IntN(3)) + 1
		c.second = h.second
	}
	return c
}

func (h *history) status(a *Account, upstream, local bool) {
	s := Status{Inactive: h.rng.IntN(2) == 0}
	if s.Inactive {
		s.Reason = []string{"takendown", "deleted", ""}[h.rng.IntN(3)]
	}
	if upstream {
		a.Set |= Upstream
		a.Upstream = s
	}
	if local {
		a.Set |= Local
		a.Local = s
	}
}

func (h *history) changes(n int) []change {
	out := make([]change, n)
	for i := range out {
		out[i] = h.next(uint64(i + 1))
	}
	return out
}

// truth is what an index must have after a prefix, found without merging.
type truth struct {
	accounts    map[string]Account
	hosts       map[string]Host
	collections map[string]bool // "collection did"
	times       map[uint64]uint64
}

func newTruth() *truth {
	return &truth{make(map[string]Account), make(map[string]Host), make(map[string]bool), make(map[uint64]uint64)}
}

func (w *truth) apply(seq uint64, c *change) {
	a := w.accounts[c.did]
	a.Marks = slices.Clone(a.Marks)
	for _, f := range []struct {
		bit Fields
		set func()
	}{
		{Upstream, func() { a.Upstream = c.account.Upstream }}, {Local, func() { a.Local = c.account.Local }},
		{HostField, func() { a.Host = c.account.Host }}, {RepoField, func() { a.Repo = c.account.Repo }},
	} {
		if c.account.Set.Has(f.bit) {
			a.Set |= f.bit
			f.set()
		}
	}
	for _, m := range c.account.Marks {
		a.Marks = slices.DeleteFunc(a.Marks, func(o Mark) bool { return o.Host == m.Host })
		a.Marks = append([]Mark{m}, a.Marks...)
	}
	w.accounts[c.did] = a // every mark: which are kept is decided when it is compared
	if c.host.Name != "" {
		h := w.hosts[c.host.Name]
		h.Name = c.host.Name
		h.Raise(c.host.Epoch, c.host.Cursor)
		w.hosts[h.Name] = h
	}
	if c.collection != "" {
		w.collections[c.collection+" "+c.did] = true
	}
	if c.second != 0 {
		w.times[c.second] = seq
	}
}

// kept is the account with the marks that the rule keeps of all it ever had.
func kept(a Account) Account {
	var marks []Mark
	for i, m := range a.Marks {
		if i < maxMarks || a.Set.Has(HostField) && m.Host == a.Host {
			marks = append(marks, m)
		}
	}
	a.Marks = marks
	return a
}

func (b *Batch) change(seq uint64, c *change) {
	b.Account(c.did, &c.account)
	if c.host.Name != "" {
		b.Host(&c.host)
	}
	if c.collection != "" {
		b.Collection(c.collection, c.did)
	}
	if c.second != 0 {
		b.Time(c.second, seq)
	}
}

// compare says how an index differs from what it must be.
func (w *truth) compare(x *Index) error {
	var mu sync.Mutex
	got := make(map[string]Account)
	err := x.Accounts(context.Background(), 3, func(did []byte, a *Account) error {
		mu.Lock()
		defer mu.Unlock()
		c := *a
		c.Marks = slices.Clone(a.Marks)
		got[string(did)] = c
		return nil
	})
	if err != nil {
		return err
	}
	for did, a := range w.accounts {
		if g := got[did]; !reflect.DeepEqual(g, kept(a)) && !(len(g.Marks) == 0 && len(a.Marks) == 0 && g.Set == a.Set) {
			return fmt.Errorf("%s:\n got %+v\nwant %+v", did, g, kept(a))
		}
	}
	if len(got) != len(w.accounts) {
		return fmt.Errorf("%d accounts, want %d", len(got), len(w.accounts))
	}
	hosts, err := x.Hosts()
	if err != nil {
		return err
	}
	if want := slices.SortedFunc(maps.Values(w.hosts), func(a, b Host) int { return strings.Compare(a.Name, b.Name) }); !slices.Equal(hosts, want) {
		return fmt.Errorf("hosts:\n got %+v\nwant %+v", hosts, want)
	}
	return w.compareRest(x)
}

func (w *truth) compareRest(x *Index) error {
	collections := make(map[string]bool)
	times := make(map[uint64]uint64)
	err := x.each(span(spaceCollection), func(key, _ []byte) error {
		collection, did, _ := strings.Cut(string(key[1:]), "\x00")
		collections[collection+" "+did] = true
		return nil
	})
	if err == nil {
		err = x.each(span(spaceTime), func(key, value []byte) error {
			second, seq, err := decodeTime(key, value)
			times[second] = seq
			return err
		})
	}
	if err != nil {
		return err
	}
	if !maps.Equal(collections, w.collections) {
		return fmt.Errorf("%d collections, want %d", len(collections), len(w.collections))
	}
	if !maps.Equal(times, w.times) {
		return fmt.Errorf("times:\n got %v\nwant %v", times, w.times)
	}
	return nil
}
