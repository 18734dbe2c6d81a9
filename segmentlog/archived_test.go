package segmentlog

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"os"
	"strings"
	"sync/atomic"
	"testing"
)

// fakeArchive holds the bytes of segments in memory and counts who opens them.
type fakeArchive struct {
	bytes  map[SegmentName][]byte
	list   []Archived
	opened atomic.Int64
}

type farFile struct{ *bytes.Reader }

func (farFile) Close() error { return nil }

func (f *fakeArchive) open(a Archived) (ArchivedFile, error) {
	f.opened.Add(1)
	b, ok := f.bytes[a.Name]
	if !ok {
		return nil, os.ErrNotExist
	}
	return farFile{bytes.NewReader(b)}, nil
}

// archive copies what is sealed and tells the log.
func (f *fakeArchive) archive(t *testing.T, l *Log) {
	t.Helper()
	for _, s := range l.Sealed(0) {
		b, err := os.ReadFile(s.Path)
		if err != nil {
			t.Fatal(err)
		}
		if sum, err := s.SHA256(t.Context()); err != nil || sum != sha256.Sum256(b) {
			t.Fatalf("%s: its SHA-256 is %x, %v", s.Path, sum, err)
		}
		seg, file, err := s.Open()
		if err != nil {
			t.Fatal(err)
		}
		ft := seg.Footer()
		a := Archived{Name: ft.Name, Size: s.Size, FirstLeaf: ft.FirstLeaf, Count: ft.Count, LastWitnessed: ft.LastWitnessed, Root: ft.Root}
		if err := file.Close(); err != nil {
			t.Fatal(err)
		}
		if _, known := f.bytes[a.Name]; !known {
			f.bytes[a.Name] = b
			f.list = append(f.list, a)
		}
		l.SetArchived(a)
	}
}

// sealedLog makes a log of n events in small segments, all of them sealed.
func sealedLog(t *testing.T, o *Options, n int) *Log {
	t.Helper()
	o.MaxHotBytes, o.Seal = 16<<10, &SegmentOptions{BlockSize: 2 << 10}
	seals := watchSeals(o)
	committed := newSeen()
	o.OnCommit = committed.commit
	l := mustOpen(t, *o)
	for i := range n {
		committed.wait(mustAppend(t, l, i))
	}
	mustClose(t, l)
	l = mustOpen(t, *o)
	seals.wait(func() bool { return len(seals.sealed) > 0 && l.nextToSeal() == nil })
	return l
}

func TestALogReadsOnThroughWhatOnlyTheArchiveHolds(t *testing.T) {
	o := diskOptions(t)
	far := &fakeArchive{bytes: map[SegmentName][]byte{}}
	o.OpenArchived = far.open
	const n = 600
	l := sealedLog(t, &o, n)
	far.archive(t, l)
	stream := l.Stream()
	reading := l.NewReader(0) // has the first file open while it goes
	var rec Record
	if err := reading.Next(&rec); err != nil {
		t.Fatal(err)
	}
	sealed := l.Sealed(0)
	for i, s := range sealed {
		if i%3 != 2 {
			if err := l.Evict(s.Name); err != nil {
				t.Fatal(err)
			}
		}
	}
	if left := len(l.Sealed(0)); left != len(sealed)/3 {
		t.Errorf("%d of %d segments stay", left, len(sealed))
	}
	for i := 1; i < n; i++ {
		if err := reading.Next(&rec); err != nil {
			t.Fatal(err)
		}
		wantEntry(t, &rec, i)
	}
	if err := reading.Close(); err != nil {
		t.Error(err)
	}
	if far.opened.Load() == 0 {
		t.Error("nothing was read from the archive")
	}
	chunked := 0
	for c, err := range l.Chunks(0) {
		if err != nil {
			t.Fatal(err)
		}
		for rec, err := range c.Records(nil) {
			if err != nil {
				t.Fatal(err)
			}
			wantEntry(t, rec, chunked)
			chunked++
		}
	}
	if chunked != n {
		t.Errorf("%d events in chunks of %d", chunked, n)
	}
	mustClose(t, l)

	// The whole disk is lost: another epoch goes on, in an empty directory.
	stream.Epochs = append(stream.Epochs, Epoch{Epoch: 2, FirstSeq: 1e9, PrevLastSeq: n})
	o.Dir, o.Stream, o.Archived = t.TempDir(), &stream, far.list
	seals := watchSeals(&o)
	committed := newSeen()
	o.OnCommit = committed.commit
	l = mustOpen(t, o)
	defer mustClose(t, l)
	if l.Tip() != n || l.Oldest() != 1 {
		t.Errorf("the log is %d to %d", l.Oldest(), l.Tip())
	}
	for i := range 200 {
		seq := mustAppend(t, l, n+i)
		committed.wait(seq)
		if want := uint64(1e9 + i); seq != want {
			t.Fatalf("event %d has seq %d, not %d", n+i, seq, want)
		}
	}
	seals.wait(func() bool { return len(seals.sealed) > 0 })
	recs := readAll(t, l, 0)
	if len(recs) != n+200 {
		t.Fatalf("%d events", len(recs))
	}
	for i := range recs {
		wantEntry(t, &recs[i], i)
	}
	first := l.Sealed(0)[0]
	seg, f, err := first.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if seg.Footer().FirstLeaf != n || first.Name.Epoch != 2 {
		t.Errorf("the first segment of the new epoch is %s from leaf %d", first.Name, seg.Footer().FirstLeaf)
	}
}

func TestWhatTheArchiveIsNotKnownToHoldIsNeverEvicted(t *testing.T) {
	o := diskOptions(t)
	l := sealedLog(t, &o, 100)
	defer mustClose(t, l)
	name := l.Sealed(0)[0].Name
	if err := l.Evict(name); !errors.Is(err, ErrNotArchived) {
		t.Errorf("no archive is read: %v", err)
	}
	l.opts.OpenArchived = (&fakeArchive{}).open
	if err := l.Evict(name); !errors.Is(err, ErrNotArchived) {
		t.Errorf("not archived: %v", err)
	}
	if n := len(readAll(t, l, 0)); n != 100 {
		t.Errorf("%d events", n)
	}
}

func TestAnArchiveThatDoesNotFitTheLogIsRefused(t *testing.T) {
	o := diskOptions(t)
	far := &fakeArchive{bytes: map[SegmentName][]byte{}}
	o.OpenArchived = far.open
	l := sealedLog(t, &o, 300)
	far.archive(t, l)
	stream := l.Stream()
	mustClose(t, l)
	last := len(far.list) - 1
	for what, c := range map[string]struct {
		change func(*Options)
		want   string
	}{
		"a hole":           {func(o *Options) { o.Archived = append(o.Archived[:1:1], o.Archived[2:]...) }, "a segment is missing"},
		"another root":     {func(o *Options) { o.Archived[last].Root = make([]byte, HashSize) }, "its tree is not what the catalog says"},
		"another count":    {func(o *Options) { o.Archived[last].Count++ }, "the catalog"},
		"a lost epoch":     {func(o *Options) { o.Stream.Epochs[0].Epoch = 7 }, "is not of the log"},
		"another size":     {func(o *Options) { o.Archived[last].Size-- }, "of the archive"},
		"an absent object": {func(o *Options) { delete(far.bytes, far.list[last].Name) }, "file does not exist"},
	} {
		s := stream
		s.Epochs = append([]Epoch(nil), stream.Epochs...)
		o.Dir, o.Stream, o.Archived = t.TempDir(), &s, append([]Archived(nil), far.list...)
		kept := far.bytes[far.list[last].Name]
		c.change(&o)
		l, err := Open(o)
		if err == nil {
			mustClose(t, l)
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", what, err)
		}
		far.bytes[far.list[last].Name] = kept
	}
}

func TestAFileThatRottedAfterItWasSealedDoesNotHaveTheHashItWasWrittenWith(t *testing.T) {
	o := diskOptions(t)
	l := sealedLog(t, &o, 100)
	defer mustClose(t, l)
	s := l.Sealed(0)[0]
	b, err := os.ReadFile(s.Path)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 1
	if err := os.WriteFile(s.Path, b, 0o644); err != nil {
		t.Fatal(err)
	}
	s.file.sum.Store(nil) // as after a restart
	var corrupt *CorruptError
	if _, err := s.SHA256(context.Background()); !errors.As(err, &corrupt) {
		t.Errorf("after a restart: %v", err)
	}
}

func TestNoNumberAboveTheCeilingIsReserved(t *testing.T) {
	o := diskOptions(t)
	o.Ceiling = 5
	committed := newSeen()
	o.OnCommit = committed.commit
	l := mustOpen(t, o)
	defer mustClose(t, l)
	for i := range 5 {
		committed.wait(mustAppend(t, l, i))
	}
	if _, err := l.Append(t.Context(), testEntry(5)); !errors.Is(err, ErrCeiling) {
		t.Errorf("above the ceiling: %v", err)
	}
	if r := l.Reserved(); r != 5 {
		t.Errorf("%d numbers are reserved", r)
	}
	l.SetCeiling(10)
	committed.wait(mustAppend(t, l, 5))
	if r := l.Reserved(); r != 10 {
		t.Errorf("%d numbers are reserved", r)
	}
}

func TestAStreamKeepsOfAnEpochWhatTheNextOnesSay(t *testing.T) {
	s := Stream{Version: 1, ID: strings.Repeat("a", 32), Epochs: []Epoch{
		{Epoch: 1, FirstSeq: 1}, {Epoch: 3, FirstSeq: 1000, PrevLastSeq: 50}, {Epoch: 4, FirstSeq: 2000, PrevLastSeq: 50}, {Epoch: 9, FirstSeq: 5000, PrevLastSeq: 2500},
	}}
	if _, err := ParseStream(s.Encode()); err != nil {
		t.Fatal(err)
	}
	for n, want := range map[SegmentName]bool{
		{Epoch: 1, FirstSeq: 1, LastSeq: 50}: true, {Epoch: 1, FirstSeq: 51, LastSeq: 60}: false,
		{Epoch: 2, FirstSeq: 500, LastSeq: 600}: false, {Epoch: 3, FirstSeq: 1000, LastSeq: 1001}: false,
		{Epoch: 4, FirstSeq: 2000, LastSeq: 2500}: true, {Epoch: 4, FirstSeq: 2400, LastSeq: 2600}: false,
		{Epoch: 4, FirstSeq: 1999, LastSeq: 2001}: false, {Epoch: 9, FirstSeq: 5000, LastSeq: 9e9}: true,
	} {
		if s.Keeps(n) != want {
			t.Errorf("%s: kept is %t", n, !want)
		}
	}
	for _, bad := range []string{
		`{"version":1,"stream":"` + s.ID + `","epochs":[{"epoch":1,"first_seq":1},{"epoch":2,"first_seq":9,"prev_last_seq":9}]}`,
		`{"version":1,"stream":"` + s.ID + `","epochs":[{"epoch":1,"first_seq":10},{"epoch":2,"first_seq":9,"prev_last_seq":8}]}`,
		`{"version":1,"stream":"xyz","epochs":[{"epoch":1,"first_seq":1}]}`,
	} {
		if _, err := ParseStream([]byte(bad)); err == nil {
			t.Errorf("%s was taken", bad)
		}
	}
}

func TestWhatWasTrimmedIsNotThereAfterAStart(t *testing.T) {
	o := diskOptions(t)
	l := sealedLog(t, &o, 200)
	files := l.Sealed(0)
	through := files[1].Name.LastSeq
	stream := l.Stream()
	mustClose(t, l)
	stream.TrimmedThrough = through // the archive says so, and the files are still there
	o.Stream = &stream
	for range 2 {
		l = mustOpen(t, o)
		if l.Oldest() != through+1 || len(readAll(t, l, 0)) != 200-int(through) || l.Stream().TrimmedThrough != through {
			t.Errorf("the log begins at %d, with %d events", l.Oldest(), len(readAll(t, l, 0)))
		}
		mustClose(t, l)
		o.Stream = nil // the data directory remembers
	}
	if _, err := os.Stat(files[0].Path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s is still there: %v", files[0].Path, err)
	}
}

func TestATrimIsSeenByReadersAtOnce(t *testing.T) {
	o := diskOptions(t)
	l := sealedLog(t, &o, 200)
	defer mustClose(t, l)
	through := l.Sealed(0)[1].Name.LastSeq
	for range 2 {
		if err := l.Trim(through); err != nil {
			t.Fatal(err)
		}
		if recs := readAll(t, l, 0); recs[0].Seq != through+1 || l.Oldest() != through+1 || len(recs) != 200-int(through) {
			t.Errorf("trimmed through %d: %d events from %d on, the oldest is %d", through, len(recs), recs[0].Seq, l.Oldest())
		}
	}
}

func TestACursorOfAnEpochThatWasLostWholeIsReserved(t *testing.T) {
	s := NewStream(1)
	s.Epochs = append(s.Epochs, Epoch{Epoch: 2, FirstSeq: 2_000_000_000})
	o := diskOptions(t)
	o.Stream = &s
	l := mustOpen(t, o)
	defer mustClose(t, l)
	if r := l.Reserved(); r != 1_999_999_999 {
		t.Errorf("the highest number that was ever reserved is %d", r)
	}
}
