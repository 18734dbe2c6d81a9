package archive

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/identity"

	"github.com/cistern-archive/cistern/internal/frame"
	"github.com/cistern-archive/cistern/internal/netsim"
	"github.com/cistern-archive/cistern/internal/signing"
	"github.com/cistern-archive/cistern/segmentlog"
)

// seed returns the test's seed, printed so that a failure can be run again with
// CISTERN_SEED.
func seed(t testing.TB) uint64 {
	s := rand.Uint64()
	if v := os.Getenv("CISTERN_SEED"); v != "" {
		n, err := strconv.ParseUint(v, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		s = n
	}
	t.Logf("CISTERN_SEED=%d", s)
	return s
}

// sample is an archive of really signed events: sealed segments in a directory.
type sample struct {
	dir    string
	files  []string // in order
	frames [][]byte // as served, in order
	events []*segmentlog.Entry
	seqs   []uint64
	err    error
}

var (
	samples  sync.Once
	theOne   sample
	cleanups []func()
)

func TestMain(m *testing.M) {
	code := m.Run()
	for _, f := range cleanups {
		f()
	}
	os.Exit(code)
}

// theSample returns the archive that all tests share; they do not change it.
func theSample(t testing.TB) *sample {
	t.Helper()
	samples.Do(func() {
		dir, err := os.MkdirTemp("", "cistern-archive-test-")
		if err != nil {
			theOne.err = err
			return
		}
		cleanups = append(cleanups, func() { os.RemoveAll(dir) })
		theOne.err = theOne.make(dir)
	})
	if theOne.err != nil {
		t.Fatal(theOne.err)
	}
	return &theOne
}

// copyOf copies the sample's files to a directory of the test's own.
func (s *sample) copyOf(t testing.TB) (dir string, files []string) {
	t.Helper()
	dir = t.TempDir()
	for _, f := range s.files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		to := filepath.Join(dir, filepath.Base(f))
		if err := os.WriteFile(to, b, 0o600); err != nil {
			t.Fatal(err)
		}
		files = append(files, to)
	}
	return dir, files
}

func (s *sample) make(dir string) error {
	n, err := netsim.New(netsim.Options{Seed: 7, Accounts: 6, Records: 20, Churn: 0.1})
	if err != nil {
		return err
	}
	defer n.Close()
	h := n.Host(0)
	for i := range 150 {
		if err := n.Step(); err != nil {
			return err
		}
		if i%30 == 3 {
			for _, d := range []string{"record-float", "unknown-fields", "blocks-doubled", "wide-ints"} {
				if _, err := h.Speak(active(h), d); err != nil {
					return err
				}
			}
		}
	}
	keys := keyring{}
	var entries []*segmentlog.Entry
	for _, e := range n.Ledger() {
		if e.Outcome != netsim.Accept {
			continue
		}
		raw, err := n.Frame(e.Index)
		if err != nil {
			return err
		}
		entry, err := entryOf(n, keys, &e, raw)
		if err != nil {
			return err
		}
		entries = append(entries, entry)
	}
	s.events = entries
	return s.write(dir, entries)
}

func active(h *netsim.Host) *netsim.Account {
	for _, a := range h.Accounts() {
		if a.Status() == "" {
			return a
		}
	}
	panic("no active account")
}

func entryOf(n *netsim.Network, keys keyring, e *netsim.Entry, raw []byte) (*segmentlog.Entry, error) {
	ev, err := frame.Parse(raw)
	if err != nil {
		return nil, err
	}
	entry := &segmentlog.Entry{DID: ev.DID, Host: e.Host, HostEpoch: 1, HostSeq: e.HostSeq, Verdict: e.Flags, Head: ev.Head, Tail: ev.Tail}
	if ev.Kind == frame.Commit || ev.Kind == frame.Sync {
		entry.Verdict |= segmentlog.Signature
		entry.Key, err = keys.of(n, ev.DID)
	}
	return entry, err
}

// keyring asks the directory for each account's key once.
type keyring map[string][]byte

func (k keyring) of(n *netsim.Network, did string) ([]byte, error) {
	if k[did] != nil {
		return k[did], nil
	}
	resp, err := http.Get(n.PLCURL() + "/" + did)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	var doc identity.DIDDocument
	if err := json.NewDecoder(resp.Body).Decode(&doc); err != nil {
		return nil, err
	}
	id := identity.ParseIdentity(&doc)
	pub, err := id.PublicKey()
	if err != nil {
		return nil, err
	}
	key, err := signing.FromPublic(pub)
	if err != nil {
		return nil, err
	}
	k[did] = key.Multicodec()
	return k[did], nil
}

// write appends the entries to a log with small hot files and waits until all of
// them are sealed.
func (s *sample) write(dir string, entries []*segmentlog.Entry) error {
	sealed := make(chan segmentlog.SealInfo, 1000)
	o := segmentlog.Options{
		Dir: dir, Logger: slog.New(slog.DiscardHandler), MaxHotBytes: 64 << 10, Seal: &segmentlog.SegmentOptions{BlockSize: 16 << 10},
	}
	o.Events.Seal = func(i segmentlog.SealInfo) { sealed <- i }
	committed := make(chan uint64, 1000)
	o.OnCommit = func(b segmentlog.Batch) {
		var rec segmentlog.Record
		if b.Record(b.Len()-1, &rec) == nil {
			committed <- rec.Seq
		}
	}
	base := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	ticks := 0
	var mu sync.Mutex
	o.Now = func() time.Time { // a second and a bit a reading
		mu.Lock()
		defer mu.Unlock()
		ticks++
		return base.Add(time.Duration(ticks) * 1001 * time.Millisecond)
	}
	o.Monotonic = func() time.Duration { return o.Now().Sub(base) }
	for range 2 { // the second opening closes the last hot file
		l, err := segmentlog.Open(o)
		if err != nil {
			return err
		}
		for i, e := range entries {
			seq, err := l.Append(context.Background(), e)
			if err != nil {
				return err
			}
			for i%8 == 0 && <-committed < seq { // small commits make files of even size
			}
			s.seqs = append(s.seqs, seq)
			item := fmt.Appendf(nil, "%s", e.Head)
			s.frames = append(s.frames, append(appendSeq(item, seq), e.Tail...))
		}
		if entries == nil {
			for last := uint64(0); last < s.seqs[len(s.seqs)-1]; {
				i := <-sealed
				last = i.Name.LastSeq
			}
		}
		entries = nil
		if err := l.Close(); err != nil {
			return err
		}
	}
	src, err := Find(context.Background(), nil, []string{dir})
	if err != nil {
		return err
	}
	for _, f := range src.Files {
		s.files = append(s.files, f.Place)
	}
	s.dir = filepath.Dir(s.files[0])
	return nil
}

// appendSeq appends a CBOR uint, written without the package under test.
func appendSeq(dst []byte, v uint64) []byte {
	switch {
	case v < 24:
		return append(dst, byte(v))
	case v < 1<<8:
		return append(dst, 0x18, byte(v))
	case v < 1<<16:
		return append(dst, 0x19, byte(v>>8), byte(v))
	default:
		return append(dst, 0x1a, byte(v>>24), byte(v>>16), byte(v>>8), byte(v))
	}
}

func find(t testing.TB, places ...string) *Source {
	t.Helper()
	src, err := Find(context.Background(), nil, places)
	if err != nil {
		t.Fatal(err)
	}
	return src
}

func mustVerify(t testing.TB, src *Source, o VerifyOptions) *Report {
	t.Helper()
	r, err := Verify(context.Background(), src, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// wantProblem checks that there is one problem, and that it says all of words.
func wantProblem(t testing.TB, r *Report, words ...string) {
	t.Helper()
	if len(r.Problems) != 1 {
		t.Fatalf("%d problems: %v", len(r.Problems), r.Problems)
	}
	for _, w := range words {
		if !strings.Contains(r.Problems[0].String(), w) {
			t.Errorf("the problem does not say %q: %s", w, r.Problems[0])
		}
	}
}
