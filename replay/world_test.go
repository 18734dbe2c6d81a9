package replay

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"testing"

	"github.com/cistern-archive/cistern/segmentlog"
	"github.com/cistern-archive/cistern/segmentlog/dagcbor"
)

const modelAccounts = 12

// world drives a log through everything that can happen to it, and knows the truth: what
// each seq is, and which accounts are active.
type world struct {
	t    *testing.T
	rng  *rand.Rand
	dir  string
	src  Source
	set  *Suppressed
	opts segmentlog.Options

	mu       sync.Mutex
	cond     sync.Cond
	durable  int // events that OnCommit has seen
	sealed   int
	events   []truth
	inactive map[string]bool

	far     map[segmentlog.SegmentName][]byte // the archive
	list    []segmentlog.Archived
	stream  *segmentlog.Stream // as the archive has it, nil before the first start
	readers []*watched
	did     map[string]int // how often each kind of step was taken

	watch   func(segmentlog.Batch) // sees each group commit first, may be nil
	opened  func()                 // after each start, may be nil
	closing func()                 // while what was durable can still be read, may be nil
}

// truth is one event as it must be read.
type truth struct {
	seq    uint64
	did    string
	kind   string
	active bool // what an #account says
	frame  []byte
}

// makeWorld makes one whose log is not open yet.
func makeWorld(t *testing.T, seed uint64) *world {
	w := &world{t: t, rng: rand.New(rand.NewPCG(seed, 1)), dir: t.TempDir(), set: NewSuppressed(), inactive: map[string]bool{},
		far: map[segmentlog.SegmentName][]byte{}, did: map[string]int{}}
	w.cond.L = &w.mu
	return w
}

func newWorld(t *testing.T, seed uint64) *world {
	w := makeWorld(t, seed)
	w.open()
	t.Cleanup(w.close)
	return w
}

func (w *world) open() {
	w.opts = segmentlog.Options{
		Dir: w.dir, Logger: slog.New(slog.DiscardHandler), MaxHotBytes: 256 << 10, Seal: &segmentlog.SegmentOptions{BlockSize: 32 << 10},
		OpenArchived: w.openArchived, OnCommit: func(b segmentlog.Batch) {
			if w.watch != nil {
				w.watch(b)
			}
			w.set.Follow(b)
			w.src.Ring.Publish(b)
			w.mu.Lock()
			defer w.mu.Unlock()
			w.durable += b.Len()
			w.cond.Broadcast()
		},
	}
	w.opts.Archived, w.opts.Stream = w.list, w.stream
	w.opts.Events.Seal = func(segmentlog.SealInfo) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.sealed++
		w.cond.Broadcast()
	}
	log, err := segmentlog.Open(w.opts)
	if err != nil {
		w.t.Fatal(err)
	}
	if w.stream == nil {
		s := log.Stream()
		w.stream = &s
	}
	w.src = Source{Log: log, Ring: NewRing(2*chunkBytes, log.Tip()), Blocks: NewBlocks(log, 0)}
	w.src.Blocks.budget = 2 << 20 // the largest block and a few others: readers press on each other
	if w.opened != nil {
		w.opened()
	}
}

type farSegment struct{ *bytes.Reader }

func (farSegment) Close() error { return nil }

func (w *world) openArchived(a segmentlog.Archived) (segmentlog.ArchivedFile, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	b, ok := w.far[a.Name]
	if !ok {
		return nil, os.ErrNotExist
	}
	return farSegment{bytes.NewReader(b)}, nil
}

func (w *world) close() {
	for _, r := range w.readers {
		r.Close()
	}
	if err := w.src.Log.Close(); err != nil {
		w.t.Error(err)
	}
	if w.closing != nil {
		w.closing()
	}
	w.src.Blocks.Close()
	w.src.Ring.Close()
}

// restart closes everything and opens it again; readers go on from their positions.
func (w *world) restart() {
	w.close()
	w.reopen()
}

func (w *world) reopen() {
	w.open()
	for _, r := range w.readers {
		r.Reader, r.held, r.next = w.src.NewReader(r.Position()), Batch{}, w.at(r.Position())
	}
}

// takeOver loses the data directory, and with it what was not shipped: another machine goes
// on from the archive, in a new epoch with numbers far above.
func (w *world) takeOver() {
	if len(w.list) == 0 {
		return
	}
	const apart = 1_000_000_000
	last := w.list[len(w.list)-1].Name.LastSeq
	first := (max(w.src.Log.Reserved(), w.stream.Current().FirstSeq)/apart + 1) * apart
	w.close()
	s := *w.stream
	s.Epochs = append(slices.Clip(s.Epochs), segmentlog.Epoch{Epoch: s.Current().Epoch + 1, FirstSeq: first, PrevLastSeq: last})
	w.stream, w.dir = &s, w.t.TempDir()
	kept := w.at(last)
	w.did["lost"] += len(w.events) - kept
	w.events, w.durable = w.events[:kept], kept
	w.restoreStatus()
	w.reopen()
}

// restoreStatus makes the set of who is inactive anew from the events.
func (w *world) restoreStatus() {
	clear(w.inactive)
	for _, e := range w.events {
		if e.kind == "#account" {
			w.inactive[e.did] = !e.active
		}
	}
	w.set = NewSuppressed()
	for did, inactive := range w.inactive {
		w.set.Set([]byte(did), inactive)
	}
}

// trim takes the oldest archived segments away, as a retention does.
func (w *world) trim() {
	if len(w.list) < 4 {
		return
	}
	n := 1 + w.rng.IntN(len(w.list)/2)
	last := w.list[n-1]
	s := *w.stream
	s.TrimmedThrough, s.TrimmedLeaves = last.Name.LastSeq, last.FirstLeaf+last.Count
	w.stream = &s
	if err := w.src.Log.Trim(s.TrimmedThrough); err != nil {
		w.t.Fatal(err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, a := range w.list[:n] {
		delete(w.far, a.Name)
	}
	w.list = slices.Clone(w.list[n:])
	w.did["trimmed"] += n
}

// append logs some events and waits until they are durable.
func (w *world) append() {
	for range 1 + w.rng.IntN(40) {
		kind, size := "#commit", 60+w.rng.IntN(4000)
		switch w.rng.IntN(12) {
		case 0:
			kind, size = "#identity", 10
		case 1:
			kind, size = "#sync", 300
		case 2:
			size = 1 // small
		case 3:
			if w.rng.IntN(20) == 0 {
				size = 300<<10 + w.rng.IntN(1<<20) // alone in a batch, in a block, in a chunk
				w.did["large"]++
			}
		}
		w.log(kind, w.account(), true, size)
	}
	w.await()
}

func (w *world) account() string { return fmt.Sprint("did:plc:", w.rng.IntN(modelAccounts)) }

func (w *world) log(kind, did string, active bool, size int) {
	head, tail := frameParts(kind, did, active, size)
	seq, err := w.src.Log.Append(context.Background(), &segmentlog.Entry{DID: did, Host: "h", HostSeq: uint64(len(w.events)), Head: head, Tail: tail})
	if err != nil {
		w.t.Fatal(err)
	}
	frame := append(append(bytes.Clone(head), dagcbor.AppendUint(nil, seq)...), tail...)
	w.events = append(w.events, truth{seq, did, kind, active, frame})
}

// await waits until everything that was appended is durable.
func (w *world) await() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.durable < len(w.events) {
		w.cond.Wait()
	}
}

// status changes an account, by an event, and waits until that is known.
func (w *world) status() {
	did, active := w.account(), w.rng.IntN(2) == 0
	w.log("#account", did, active, 10)
	w.await()
	w.inactive[did] = !active
	if w.set.Has(did) == active {
		w.t.Fatalf("%s is suppressed: %v", did, !active)
	}
}

// ship copies what is sealed to the archive.
func (w *world) ship() {
	for _, s := range w.src.Log.Sealed(0) {
		if s.Archived {
			continue
		}
		b, err := os.ReadFile(s.Path)
		if err != nil {
			w.t.Fatal(err)
		}
		seg, f, err := s.Open()
		if err != nil {
			w.t.Fatal(err)
		}
		ft := seg.Footer()
		a := segmentlog.Archived{Name: ft.Name, Size: s.Size, FirstLeaf: ft.FirstLeaf, Count: ft.Count, LastWitnessed: ft.LastWitnessed, Root: ft.Root}
		if err := f.Close(); err != nil {
			w.t.Fatal(err)
		}
		w.mu.Lock()
		w.far[a.Name] = b
		w.mu.Unlock()
		w.list = append(w.list, a)
		w.src.Log.SetArchived(a)
	}
}

// evict removes some local segments that the archive has.
func (w *world) evict() {
	for _, s := range w.src.Log.Sealed(0) {
		if s.Archived && w.rng.IntN(2) == 0 {
			if err := w.src.Log.Evict(s.Name); err != nil {
				w.t.Fatal(err)
			}
			w.did["evicted"]++
		}
	}
}

// evictSome goes on until some were.
func (w *world) evictSome() {
	for before := w.did["evicted"]; w.did["evicted"] == before; {
		w.append()
		w.ship()
		w.evict()
	}
}

// at returns the index of the first event above a position.
func (w *world) at(pos uint64) int {
	for i, e := range w.events {
		if e.seq > pos {
			return i
		}
	}
	return len(w.events)
}
