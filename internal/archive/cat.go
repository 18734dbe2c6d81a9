package archive

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"

	"github.com/cistern-archive/cistern/internal/frame"
	"github.com/cistern-archive/cistern/segmentlog"
)

// CatOptions says what Cat writes.
type CatOptions struct {
	Filter Filter
	// Raw writes each frame after its length, 4 bytes little-endian, in place of JSON
	// Lines.
	Raw bool
	// Suppressed are accounts whose commits and syncs are left out.
	Suppressed map[string]bool
	// Warn is told when segments between two that are read are missing.
	Warn func(string)
}

// Cat writes the records that the filter chooses, in order. Footers are used to
// leave out segments and blocks by seq and time, and segments by collection.
func Cat(ctx context.Context, w io.Writer, src *Source, o CatOptions) error {
	c := catRun{q: o.Filter.query(), out: bufio.NewWriterSize(w, 256<<10), o: o}
	c.enc = json.NewEncoder(c.out)
	c.enc.SetEscapeHTML(false)
	for _, f := range src.Files {
		if f.Name.LastSeq < c.q.first {
			continue
		}
		if f.Name.FirstSeq > c.q.last {
			break
		}
		more, err := c.file(ctx, f)
		if err != nil {
			_ = c.out.Flush() // what came before the damage; its error is the lesser one
			return err
		}
		if !more {
			break
		}
	}
	return c.out.Flush()
}

// catRun is a run of Cat.
type catRun struct {
	q   *query
	o   CatOptions
	out *bufio.Writer
	enc *json.Encoder
	ev  frame.Event

	last *segmentlog.Footer // of the file before
}

// file writes one segment; false when no later one can hold anything.
func (c *catRun) file(ctx context.Context, f *File) (more bool, err error) {
	seg, err := f.Open(ctx)
	if err != nil {
		return false, err
	}
	defer seg.Close() // opened for reading
	footer := seg.Footer()
	if end := lastLeaf(c.last); c.last != nil && footer.FirstLeaf > end && c.o.Warn != nil {
		c.o.Warn(fmt.Sprintf("%d records between seq %d and %d are in no file given", footer.FirstLeaf-end, c.last.Name.LastSeq, footer.Name.FirstSeq))
	}
	c.last = footer
	if c.q.past(footer.Name.FirstSeq, footer.FirstWitnessed) {
		return false, nil
	}
	after, through, ok := c.q.span(footer)
	if !ok {
		return true, nil
	}
	for rec, err := range seg.Records(after) {
		if err != nil {
			return false, err
		}
		if c.q.past(rec.Seq, rec.Witnessed) {
			return false, nil
		}
		if c.q.record(rec) {
			if err := c.record(rec); err != nil {
				return false, err
			}
		}
		if rec.Seq == through {
			break
		}
		if err := ctx.Err(); err != nil {
			return false, err
		}
	}
	return true, nil
}

func lastLeaf(f *segmentlog.Footer) uint64 {
	if f == nil {
		return 0
	}
	return f.FirstLeaf + f.Count
}

// record writes one record, if its frame is chosen too.
func (c *catRun) record(rec *segmentlog.Record) error {
	readable := len(rec.Frame) > 0
	var reason error
	if readable {
		if reason = frame.ParseInto(rec.Frame, &c.ev); reason != nil {
			readable = false
		}
	}
	if !readable {
		c.ev.Reset()
	}
	if !c.q.event(&c.ev) || c.o.Suppressed[string(rec.DID)] && c.ev.Kind != frame.Account && c.ev.Kind != frame.Identity {
		return nil
	}
	if c.o.Raw {
		if err := binary.Write(c.out, binary.LittleEndian, uint32(len(rec.Frame))); err != nil {
			return err
		}
		_, err := c.out.Write(rec.Frame)
		return err
	}
	return c.enc.Encode(newEvent(rec, &c.ev, reason))
}
