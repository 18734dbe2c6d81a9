package segmentlog

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"runtime"

	"github.com/klauspost/compress/zstd"
	"github.com/transparency-dev/merkle/compact"
)

// blockSize is about how many bytes of records a block holds, decoded
// (docs/decisions/0004-blocks.md).
const blockSize = 1 << 20

// maxWindow is how far back a match may reach, in bytes: memory of each worker.
const maxWindow = 1 << 20

// sealAhead bounds the blocks in memory while a segment is written.
const sealAhead = 4

// SegmentOptions says how a segment is written.
type SegmentOptions struct {
	Level     zstd.EncoderLevel // default SpeedDefault
	BlockSize int               // default 1 MiB
	Workers   int               // blocks compressed at once, default half the processors
}

// EnsureDefaults fills in what is not set.
func (o *SegmentOptions) EnsureDefaults() {
	if o.Level == 0 {
		o.Level = zstd.SpeedDefault
	}
	if o.BlockSize == 0 {
		o.BlockSize = blockSize
	}
	o.BlockSize = min(o.BlockSize, MaxBlock)
	if o.Workers == 0 {
		o.Workers = max(1, runtime.GOMAXPROCS(0)/2) // the other half is for the append path
	}
}

// segmentWriter cuts records into blocks, compresses them side by side and writes
// them in order, the footer last.
type segmentWriter struct {
	w   io.Writer
	o   SegmentOptions
	enc *zstd.Encoder

	footer Footer
	tree   *compact.Range // leaves of this segment so far
	off    int64

	current *sealBlock
	jobs    chan *sealBlock // to the workers
	queue   []*sealBlock    // in order, not yet written
	free    []*sealBlock
}

// sealBlock is a block on its way: records in, a zstd frame, its hash and its
// leaves out.
type sealBlock struct {
	raw  []byte
	ends []int // of each record in raw
	meta Block

	wire []byte
	leaves
	err  error
	done chan struct{}
}

// newSegmentWriter begins a segment. frontier is the compact range of the leaves
// before it.
func newSegmentWriter(w io.Writer, stream string, epoch, generation uint64, frontier *compact.Range, o SegmentOptions) (*segmentWriter, error) {
	o.EnsureDefaults()
	enc, err := newBlockEncoder(o)
	if err != nil {
		return nil, err
	}
	s := &segmentWriter{w: w, o: o, enc: enc, jobs: make(chan *sealBlock, sealAhead), tree: ranges.NewEmptyRange(frontier.End())}
	s.footer = Footer{
		Stream: stream, Name: SegmentName{Epoch: epoch, Generation: generation}, FirstLeaf: frontier.End(),
		Kinds: map[string]uint64{}, Collections: map[string]uint64{},
	}
	for _, h := range frontier.Hashes() {
		s.footer.Frontier = append(s.footer.Frontier, append([]byte(nil), h...))
	}
	for range o.Workers {
		go s.work()
	}
	return s, nil
}

// newBlockEncoder returns the compressor of blocks. A single segment always says its
// content size, which frames below 256 bytes would otherwise leave out. What no match
// covers is nearly all hashes: to try an entropy code on that takes a tenth of the time and
// saves no byte in a thousand (docs/decisions/0004-blocks.md).
func newBlockEncoder(o SegmentOptions) (*zstd.Encoder, error) {
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(o.Level), zstd.WithEncoderConcurrency(o.Workers), zstd.WithEncoderCRC(true),
		zstd.WithWindowSize(maxWindow), zstd.WithSingleSegment(true), zstd.WithNoEntropyCompression(true))
	if err != nil {
		return nil, fmt.Errorf("zstd: %w", err)
	}
	return enc, nil
}

// add takes the next record; raw is its encoding, rec what it decodes to.
func (s *segmentWriter) add(raw []byte, rec *Record) error {
	if b := s.current; b != nil && len(b.raw)+len(raw) > s.o.BlockSize {
		if err := s.cut(); err != nil {
			return err
		}
	}
	if s.footer.Count == 0 {
		if err := s.begin(rec); err != nil {
			return err
		}
	}
	if s.current == nil {
		s.current = s.newBlock()
		s.current.meta = Block{FirstSeq: rec.Seq, FirstWitnessed: rec.Witnessed}
	}
	b := s.current
	b.raw = append(b.raw, raw...)
	b.ends = append(b.ends, len(b.raw))
	b.meta.Count++
	b.meta.LastSeq, b.meta.LastWitnessed = rec.Seq, rec.Witnessed
	s.footer.Count++
	s.footer.Name.LastSeq, s.footer.LastWitnessed = rec.Seq, rec.Witnessed
	return nil
}

// begin writes the header frame, which the first record's seq is part of.
func (s *segmentWriter) begin(rec *Record) error {
	f := &s.footer
	f.Name.FirstSeq, f.FirstWitnessed = rec.Seq, rec.Witnessed
	h := Header{Stream: f.Stream, Epoch: f.Name.Epoch, FirstSeq: rec.Seq, FirstLeaf: f.FirstLeaf}
	raw := h.appendSegment(nil)
	wire := s.enc.EncodeAll(raw, nil)
	f.Header = Span{Wire: int64(len(wire)), Raw: int64(len(raw)), SHA256: sha256.Sum256(wire)}
	return s.write(wire)
}

func (s *segmentWriter) write(b []byte) error {
	n, err := s.w.Write(b)
	s.off += int64(n)
	if err == nil && n != len(b) {
		err = io.ErrShortWrite
	}
	return err
}

func (s *segmentWriter) newBlock() *sealBlock {
	if n := len(s.free); n > 0 {
		b := s.free[n-1]
		s.free = s.free[:n-1]
		*b = sealBlock{raw: b.raw[:0], ends: b.ends[:0], wire: b.wire[:0], leaves: b.leaves, done: make(chan struct{})}
		return b
	}
	return &sealBlock{raw: make([]byte, 0, s.o.BlockSize), done: make(chan struct{})}
}

// cut hands the current block to the workers and writes what is ready. Blocks in
// memory are bounded: it waits for the oldest when too many are on their way.
func (s *segmentWriter) cut() error {
	b := s.current
	s.current = nil
	s.queue = append(s.queue, b)
	s.jobs <- b
	for len(s.queue) >= sealAhead {
		if err := s.flush(); err != nil {
			return err
		}
	}
	return nil
}

// flush waits for the oldest block and writes it.
func (s *segmentWriter) flush() error {
	b := s.queue[0]
	<-b.done
	s.queue = s.queue[1:]
	if b.err != nil {
		return b.err
	}
	b.meta.Span.Offset, b.meta.Wire, b.meta.Raw = s.off, int64(len(b.wire)), int64(len(b.raw))
	if err := s.write(b.wire); err != nil {
		return err
	}
	if err := b.appendTo(s.tree); err != nil {
		return err
	}
	s.footer.tally(b.kinds, b.collections)
	s.footer.Blocks = append(s.footer.Blocks, b.meta)
	s.free = append(s.free, b)
	return nil
}

// finish writes the last block and the tail, and returns the footer.
func (s *segmentWriter) finish(frontier *compact.Range) (*Footer, error) {
	if s.current == nil {
		return nil, errors.New("a segment without a record")
	}
	if err := s.cut(); err != nil {
		return nil, err
	}
	for len(s.queue) > 0 {
		if err := s.flush(); err != nil {
			return nil, err
		}
	}
	f := &s.footer
	f.Leaves = s.tree.Hashes()
	after, err := rangeOf(0, frontier.End(), frontier.Hashes())
	if err != nil {
		return nil, err
	}
	if err := after.AppendRange(s.tree, nil); err != nil {
		return nil, fmt.Errorf("tree: %w", err)
	}
	if f.Root, err = rootOf(after); err != nil {
		return nil, fmt.Errorf("tree: %w", err)
	}
	return f, s.write(appendTail(nil, f))
}

// close ends the workers; no method may be called after it.
func (s *segmentWriter) close() {
	close(s.jobs)
	for _, b := range s.queue {
		<-b.done
	}
	_ = s.enc.Close() // it writes to nothing
}

// work compresses blocks until close.
func (s *segmentWriter) work() {
	var scratch []byte
	var p peeked
	for b := range s.jobs {
		b.wire = s.enc.EncodeAll(b.raw, b.wire[:0])
		b.meta.SHA256 = sha256.Sum256(b.wire)
		scratch, b.err = b.hash(scratch, &p)
		close(b.done)
	}
}

// hash makes the block's leaves and counts what is in its frames.
func (b *sealBlock) hash(scratch []byte, p *peeked) (out []byte, err error) {
	b.reset()
	start := 0
	for _, end := range b.ends {
		if scratch, err = b.add(b.raw[start:end], scratch, p); err != nil {
			return scratch, err
		}
		start = end
	}
	return scratch, nil
}
