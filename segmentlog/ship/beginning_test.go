package ship

import (
	"bytes"
	"context"
	"iter"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cistern-archive/cistern/segmentlog/bucket"
)

// lister is a bucket that notes from where its segments are listed.
type lister struct {
	*memory
	from []string
}

func (l *lister) List(ctx context.Context, prefix, after string) iter.Seq2[bucket.Info, error] {
	if prefix == segmentPrefix {
		l.from = append(l.from, after)
	}
	return l.memory.List(ctx, prefix, after)
}

// look reads the archive and returns from where it listed segments too.
func look(t *testing.T, m *memory) (v *Inventory, listed []string) {
	t.Helper()
	l := &lister{memory: m}
	s, err := ReadStream(t.Context(), l)
	if err != nil {
		t.Fatal(err)
	}
	if v, err = ReadInventory(t.Context(), l, s); err != nil {
		t.Fatal(err)
	}
	if len(l.from) == 0 {
		t.Error("nothing was listed")
	}
	return v, l.from
}

// trimmedArchive is an archive of three days, of which the first was trimmed.
func trimmedArchive(t *testing.T) (*memory, Options) {
	m := newMemory()
	o := options(m, t.TempDir())
	now := time.Now()
	for day := range 3 {
		at := now.Add(time.Duration(day-3) * 24 * time.Hour)
		o.Now = func() time.Time { return at }
		w := mustStart(t, o)
		w.append("event", 100)
		w.allShipped()
		if day == 2 {
			if n, err := w.shipper.Trim(t.Context(), now.Add(-60*time.Hour)); n == 0 || err != nil {
				t.Fatal(n, err)
			}
		}
		w.stop()
	}
	return m, o
}

func TestATrimmedArchiveIsNotListedFromItsBeginning(t *testing.T) {
	m, _ := trimmedArchive(t)
	v, listed := look(t, m)
	if v.Beginning != nil || v.Entries[0].FirstLeaf == 0 || slices.Contains(listed, "") {
		t.Errorf("from leaf %d: listed from %q, %v", v.Entries[0].FirstLeaf, listed, v.Beginning)
	}
	// An older version did not note how many records were trimmed.
	s, version, err := readStream(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	s.TrimmedLeaves = 0
	if _, err := m.Replace(t.Context(), StreamKey, version, bucket.BytesBody(s.Encode())); err != nil {
		t.Fatal(err)
	}
	if v, listed = look(t, m); v.Beginning != nil || !slices.Contains(listed, "") {
		t.Errorf("where it is not known: listed from %q, %v", listed, v.Beginning)
	}
}

func TestAFirstSegmentThatIsGoneIsNamed(t *testing.T) {
	m, o := trimmedArchive(t)
	v, _ := look(t, m)
	first, second := v.Entries[0], v.Entries[1]
	delete(m.Objects, first.Key())
	if v, _ = look(t, m); v.Beginning == nil || v.Beginning.Key != first.Key() || v.Beginning.Records != first.Records {
		t.Errorf("the object: %v", v.Beginning)
	}
	var said bytes.Buffer
	o.Logger = slog.New(slog.NewTextHandler(&said, nil))
	a, err := Attach(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Close(); err != nil || !strings.Contains(said.String(), first.Key()) {
		t.Errorf("a start says %s, %v", said.String(), err)
	}
	// Its line is gone too.
	d := first.Day()
	c, err := readCatalog(t.Context(), m, d)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Replace(t.Context(), CatalogKey(d), c.version, bucket.BytesBody(encodeCatalog(c.entries[1:]))); err != nil {
		t.Fatal(err)
	}
	v, listed := look(t, m)
	if b := v.Beginning; b == nil || b.Key != "" || b.Records != first.Records || b.LastSeq != second.Name.FirstSeq-1 || b.FirstSeq > first.Name.FirstSeq {
		t.Errorf("the line too: %v", b)
	}
	if !slices.Contains(listed, "") { // it may have been lost without the object
		t.Errorf("listed from %q only", listed)
	}
}

func TestAnArchiveThatWasSeededAgainBeginsWhereTheDataDirectoryDoes(t *testing.T) {
	m := newMemory()
	o := options(m, t.TempDir())
	w := mustStart(t, o)
	w.append("event", 100)
	w.allShipped()
	gone := w.log.Sealed(0)[0].Name
	if err := w.log.Evict(gone); err != nil {
		t.Fatal(err)
	}
	tip := w.log.Tip()
	w.kill()
	again := newMemory()
	o.Bucket, o.Reseed = again, true
	w = mustStart(t, o)
	w.append("later", 60)
	w.allShipped()
	w.stop()
	v, listed := look(t, again)
	s := w.archive.Stream()
	if v.Beginning != nil || v.Entries[0].FirstLeaf != s.TrimmedLeaves || s.TrimmedThrough != gone.LastSeq || v.LastSeq() < tip {
		t.Errorf("the archive is of %d to %d, trimmed through %d (%d leaves), %s was gone: %v",
			v.Entries[0].Name.FirstSeq, v.LastSeq(), s.TrimmedThrough, s.TrimmedLeaves, gone, v.Beginning)
	}
	if len(listed) > 1 {
		t.Errorf("listed from %q", listed)
	}
}
