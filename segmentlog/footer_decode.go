package segmentlog

import (
	"fmt"

	"github.com/transparency-dev/merkle/compact"

	"github.com/cistern-archive/cistern/segmentlog/dagcbor"
)

// footerDecoder reads a footer's map. The first error stays.
type footerDecoder struct {
	r   dagcbor.Reader
	err error
}

func (d *footerDecoder) decode() (*Footer, error) {
	f := &Footer{}
	n, err := d.r.Map()
	if err != nil {
		return nil, err
	}
	last := -1
	seen := 0
	for ; n > 0 && d.err == nil; n-- {
		key := int(min(d.uint(), 1<<30))
		if key <= last {
			return nil, fmt.Errorf("key %d after %d", key, last)
		}
		if last = key; key < footerKeys {
			seen++
		}
		d.field(f, key)
	}
	if d.err == nil && seen != footerKeys {
		return nil, fmt.Errorf("%d of %d known keys", seen, footerKeys)
	}
	return f, d.err
}

func (d *footerDecoder) field(f *Footer, key int) {
	switch key {
	case keyVersion:
		if v := d.uint(); v > headerVersion && d.err == nil {
			d.err = fmt.Errorf("format version %d: %w", v, ErrVersion)
		}
	case keyStream:
		f.Stream = string(d.text())
	case keyEpoch:
		f.Name.Epoch = d.uint()
	case keyGeneration:
		f.Name.Generation = d.uint()
	case keyFirstSeq:
		f.Name.FirstSeq = d.uint()
	case keyLastSeq:
		f.Name.LastSeq = d.uint()
	case keyFirstWitnessed:
		f.FirstWitnessed = d.int()
	case keyLastWitnessed:
		f.LastWitnessed = d.int()
	case keyCount:
		f.Count = d.uint()
	case keyFirstLeaf:
		f.FirstLeaf = d.uint()
	case keyFrontier:
		f.Frontier = d.hashes()
	case keyLeaves:
		f.Leaves = d.hashes()
	case keyRoot:
		f.Root = d.hash()
	case keyHeader:
		d.array(4)
		f.Header = d.span()
	case keyBlocks:
		f.Blocks = d.blocks()
	case keyKinds:
		f.Kinds = d.counts()
	case keyCollections:
		f.Collections = d.counts()
	default: // of a later minor version
		d.keep(d.r.Skip())
	}
}

func (d *footerDecoder) keep(err error) {
	if d.err == nil {
		d.err = err
	}
}

func (d *footerDecoder) uint() uint64 {
	v, err := d.r.Uint()
	d.keep(err)
	return v
}

func (d *footerDecoder) int() int64 {
	v, err := d.r.Int()
	d.keep(err)
	return v
}

func (d *footerDecoder) text() []byte {
	b, err := d.r.Text()
	d.keep(err)
	return b
}

func (d *footerDecoder) array(want int) {
	if n, err := d.r.Array(); err != nil {
		d.keep(err)
	} else if n != want {
		d.keep(fmt.Errorf("array of %d, want %d", n, want))
	}
}

func (d *footerDecoder) hash() []byte {
	b, err := d.r.Bytes()
	d.keep(err)
	if err == nil && len(b) != HashSize {
		d.keep(fmt.Errorf("hash of %d bytes", len(b)))
	}
	return append([]byte(nil), b...)
}

// hashes reads a compact range: never more than two hashes a level.
func (d *footerDecoder) hashes() [][]byte {
	n, err := d.r.Array()
	d.keep(err)
	if n > 128 {
		d.keep(fmt.Errorf("compact range of %d hashes", n))
	}
	var out [][]byte
	for ; n > 0 && d.err == nil; n-- {
		out = append(out, d.hash())
	}
	return out
}

func (d *footerDecoder) span() (s Span) {
	s.Offset, s.Wire, s.Raw = d.int(), d.int(), d.int()
	copy(s.SHA256[:], d.hash())
	return s
}

func (d *footerDecoder) blocks() []Block {
	n, err := d.r.Array()
	d.keep(err)
	var out []Block
	for ; n > 0 && d.err == nil; n-- {
		d.array(9)
		b := Block{Span: d.span()}
		b.Count, b.FirstSeq, b.LastSeq = d.uint(), d.uint(), d.uint()
		b.FirstWitnessed, b.LastWitnessed = d.int(), d.int()
		out = append(out, b)
	}
	return out
}

func (d *footerDecoder) counts() map[string]uint64 {
	n, err := d.r.Map()
	d.keep(err)
	if n > maxCounted+1 {
		d.keep(fmt.Errorf("%d counted names", n))
	}
	out := map[string]uint64{}
	var key []byte
	for ; n > 0 && d.err == nil; n-- {
		key, err = d.r.KeyAfter(key)
		d.keep(err)
		out[string(key)] = d.uint()
	}
	return out
}

// check says whether a footer makes sense in itself: blocks follow each other
// without a gap in the file, in seq and in number.
func (f *Footer) check() error {
	bad := func(what string, args ...any) error {
		return fmt.Errorf("%w: %s", errFooter, fmt.Sprintf(what, args...))
	}
	if len(f.Blocks) == 0 || f.Header.Offset != 0 || f.Header.Wire <= 0 || f.Header.Wire > maxBlockWire || f.Header.Raw <= 0 || f.Header.Raw > maxHeader {
		return bad("no header or no block")
	}
	if !isStreamID(f.Stream) {
		return bad("stream id is not %d lower-case hex digits", 2*streamIDSize)
	}
	end, last, count, witnessed := f.Header.Wire, f.Name.FirstSeq-1, uint64(0), int64(0)
	for i := range f.Blocks {
		b := &f.Blocks[i]
		switch {
		case b.Offset != end || b.Wire <= 0 || b.Wire > maxBlockWire || b.Raw <= 0 || b.Raw > MaxBlock:
			return bad("block %d at offset %d with lengths %d, %d", i, b.Offset, b.Wire, b.Raw)
		case b.Count == 0 || b.FirstSeq <= last || b.LastSeq < b.FirstSeq || b.LastSeq-b.FirstSeq < b.Count-1:
			return bad("block %d holds %d records from seq %d to %d", i, b.Count, b.FirstSeq, b.LastSeq)
		case b.FirstWitnessed < witnessed || b.LastWitnessed < b.FirstWitnessed:
			return bad("block %d goes back in time", i)
		}
		end, last, count, witnessed = end+b.Wire, b.LastSeq, count+b.Count, b.LastWitnessed
	}
	first, final := &f.Blocks[0], &f.Blocks[len(f.Blocks)-1]
	switch {
	case first.FirstSeq != f.Name.FirstSeq || last != f.Name.LastSeq || last > MaxSeq || count != f.Count:
		return bad("blocks hold %d records from seq %d to %d", count, first.FirstSeq, last)
	case first.FirstWitnessed != f.FirstWitnessed || final.LastWitnessed != f.LastWitnessed:
		return bad("times of the blocks differ")
	}
	if err := f.checkTree(); err != nil {
		return fmt.Errorf("%w: %w", errFooter, err)
	}
	return nil
}

// checkTree says whether the root follows from the frontier and the own leaves.
func (f *Footer) checkTree() error {
	if f.FirstLeaf > MaxSeq {
		return fmt.Errorf("tree: first leaf %d", f.FirstLeaf)
	}
	after, err := f.TreeAfter()
	if err != nil {
		return err
	}
	root, err := rootOf(after)
	if err != nil {
		return fmt.Errorf("tree: %w", err)
	}
	if string(root) != string(f.Root) {
		return fmt.Errorf("tree: the root is %x, frontier and leaves give %x", f.Root, root)
	}
	return nil
}

// TreeAfter returns the compact range of the leaves [0, FirstLeaf+Count): the
// frontier and this segment's own leaves.
func (f *Footer) TreeAfter() (*compact.Range, error) {
	after, err := rangeOf(0, f.FirstLeaf, f.Frontier)
	if err != nil {
		return nil, fmt.Errorf("frontier: %w", err)
	}
	if err := extend(after, f); err != nil {
		return nil, err
	}
	return after, nil
}

// wireEnd is where the last block ends and the footer frame begins.
func (f *Footer) wireEnd() int64 {
	b := &f.Blocks[len(f.Blocks)-1]
	return b.Offset + b.Wire
}
