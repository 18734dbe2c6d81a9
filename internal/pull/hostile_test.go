package pull

import (
	"context"
	"errors"
	"testing"

	"github.com/cistern-archive/cistern/segmentlog"
	"github.com/cistern-archive/cistern/segmentlog/ship"
)

// liar is a source that names what it likes.
type liar struct {
	Source
	stream  *segmentlog.Stream
	entries []ship.Entry
}

func (l liar) Stream(context.Context) (*segmentlog.Stream, error) { return l.stream, nil }
func (l liar) Catalog(context.Context, ship.Day, ship.Day) ([]ship.Entry, error) {
	return l.entries, nil
}

func TestSegmentsOfAnotherLogAreNotTakenForThisOne(t *testing.T) {
	o := newOrigin(t, 100)
	src, err := Open(t.Context(), o.server.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	other := segmentlog.NewStream(1)
	all := o.shipper.Catalog("", "")
	var why error
	r, err := Pull(t.Context(), Options{From: liar{src, &other, all}, Out: t.TempDir(), Problem: func(_ segmentlog.SegmentName, err error) { why = err }})
	if err != nil {
		t.Fatal(err)
	}
	if r.OK() || r.Failed != len(all) || !errors.Is(why, errDiffers) {
		t.Errorf("%+v, %v", r, why)
	}
}

func TestACatalogThatCannotBeOneLogIsRefused(t *testing.T) {
	o := newOrigin(t, 200)
	src, err := Open(t.Context(), o.server.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	stream := o.log.Stream()
	for what, lie := range map[string]func(e []ship.Entry){
		"leaves again":  func(e []ship.Entry) { e[2].FirstLeaf = 0 },
		"seqs again":    func(e []ship.Entry) { e[1].Name.LastSeq = e[2].Name.LastSeq },
		"another epoch": func(e []ship.Entry) { e[1].Name.Epoch = 7 },
	} {
		all := o.shipper.Catalog("", "")
		lie(all)
		if r, err := Pull(t.Context(), Options{From: liar{src, &stream, all}, Out: t.TempDir(), Problem: func(segmentlog.SegmentName, error) {}}); !errors.Is(err, ship.ErrCatalog) {
			t.Errorf("%s: %v, %+v", what, err, r)
		}
	}
}

// A server that says that one segment replaces all that was pulled before is not believed:
// the files may be nowhere else by then.
func TestAServersWordRemovesNothing(t *testing.T) {
	o := newOrigin(t, 200)
	out := t.TempDir()
	o.pull(out, nil)
	all := o.shipper.Catalog("", "")
	stream := o.log.Stream()
	lie := all[0]
	lie.Name.Generation, lie.Name.LastSeq = 9, all[len(all)-1].Name.LastSeq
	for _, e := range all[1:] {
		lie.Records += e.Records
	}
	for what, root := range map[string][32]byte{"another root": all[0].Root, "the root, no records": all[len(all)-1].Root} {
		lie.Root = root
		p := &puller{o: Options{Out: out}, stream: &stream}
		if err := p.finish(t.Context(), []ship.Entry{lie}); err != nil {
			t.Error(err)
		}
		if p.report.Removed != 0 {
			t.Errorf("%s: %d files were removed", what, p.report.Removed)
		}
	}
	o.same(out, all)
}
