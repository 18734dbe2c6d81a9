package checkpoint

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"slices"

	"github.com/klauspost/compress/zstd"

	"github.com/cistern-archive/cistern/index"
	"github.com/cistern-archive/cistern/segmentlog"
	"github.com/cistern-archive/cistern/segmentlog/bucket"
	"github.com/cistern-archive/cistern/segmentlog/dagcbor"
)

// maxPair bounds a key with its value, in bytes.
const maxPair = 1 << 20

// RestoreOptions says what is restored, and to where.
type RestoreOptions struct {
	Bucket bucket.Bucket
	Stream segmentlog.Stream
	Tip    uint64 // the log's end
	Dir    string // of the index; it must not exist
	Logger *slog.Logger
}

// Restore fills a new index from the newest checkpoint that fits the log, and returns its
// seq, 0 where none does: then there is no index and the log is read from its beginning.
func Restore(ctx context.Context, o RestoreOptions) (uint64, error) {
	all, err := list(ctx, o.Bucket)
	if err != nil {
		return 0, err
	}
	for _, seq := range slices.Backward(slices.Sorted(maps.Keys(all))) {
		if !hasManifest(all[seq]) || seq > o.Tip || !within(&o.Stream, seq) {
			continue
		}
		err := restore(ctx, o, seq)
		if err == nil {
			return seq, nil
		}
		if ctx.Err() != nil {
			return 0, ctx.Err()
		}
		o.Logger.Warn("a checkpoint of the archive cannot be used; the one before it is tried, else the log is read from its beginning",
			"checkpoint", seq, "err", err)
	}
	return 0, nil
}

// within says whether a seq is of the log that the stream describes.
func within(s *segmentlog.Stream, seq uint64) bool {
	for _, e := range s.Epochs {
		if first, last, ok := s.Kept(e.Epoch); ok && seq >= first && seq <= last {
			return true
		}
	}
	return false
}

// restore fills a folder beside the index's and renames it, so that an index is there
// whole or not at all.
func restore(ctx context.Context, o RestoreOptions, seq uint64) (err error) {
	b, _, err := bucket.ReadAll(ctx, o.Bucket, folder(seq)+manifestName, maxManifest)
	if err != nil {
		return err
	}
	m, err := parseManifest(b)
	if err != nil {
		return fmt.Errorf("%s: %w", manifestName, err)
	}
	if m.Stream != o.Stream.ID || m.Seq != seq || m.Schema != index.Schema {
		return fmt.Errorf("it is of stream %s, seq %d, layout %d; this is stream %s, layout %d", m.Stream, m.Seq, m.Schema, o.Stream.ID, index.Schema)
	}
	tmp := o.Dir + ".restoring"
	if err := os.RemoveAll(tmp); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(tmp))
		}
	}()
	x, err := index.Open(index.Options{Dir: tmp, Logger: o.Logger, Stream: o.Stream.ID, Tip: o.Tip, Epochs: o.Stream.Epochs})
	if err != nil {
		return err
	}
	r := &reader{ctx: ctx, o: o, m: m}
	err = x.Fill(ctx, seq, r.next)
	r.close()
	if err := errors.Join(err, x.Close()); err != nil {
		return err
	}
	return os.Rename(tmp, o.Dir)
}

// reader walks over the pairs of all parts.
type reader struct {
	ctx  context.Context //nolint:containedctx // next is a callback
	o    RestoreOptions
	m    *Manifest
	part int // the next

	body io.ReadCloser
	sum  *summing
	dec  *zstd.Decoder
	in   *bufio.Reader
	left uint64 // pairs of the part
	buf  []byte
}

// summing hashes and counts what is read.
type summing struct {
	r io.Reader
	n int64
	h interface {
		io.Writer
		Sum([]byte) []byte
	}
}

func (s *summing) Read(b []byte) (int, error) {
	n, err := s.r.Read(b)
	s.n += int64(n)
	_, _ = s.h.Write(b[:n]) // never fails
	return n, err
}

// next returns the next pair, or a nil key behind the last.
func (r *reader) next() (key, value []byte, err error) {
	for r.left == 0 {
		if r.body != nil {
			if err := r.endPart(); err != nil {
				return nil, nil, err
			}
		}
		if r.part == len(r.m.Parts) {
			return nil, nil, nil
		}
		if err := r.openPart(); err != nil {
			return nil, nil, err
		}
	}
	r.left--
	if n, err := r.head(dagcbor.MajorArray); err != nil || n != 2 {
		return nil, nil, r.bad("a pair", err)
	}
	r.buf = r.buf[:0]
	if err := r.bytes(); err != nil {
		return nil, nil, err
	}
	cut := len(r.buf)
	if err := r.bytes(); err != nil {
		return nil, nil, err
	}
	if cut == 0 {
		return nil, nil, r.bad("an empty key", nil)
	}
	return r.buf[:cut], r.buf[cut:], nil
}

func (r *reader) bad(what string, err error) error {
	if err != nil {
		return fmt.Errorf("part %d: %s: %w", r.part-1, what, err)
	}
	return fmt.Errorf("part %d: %s", r.part-1, what)
}

// openPart opens the next part and reads its header.
func (r *reader) openPart() error {
	p := r.m.Parts[r.part]
	r.part++
	body, err := r.o.Bucket.Read(r.ctx, folder(r.m.Seq)+p.Name, 0, -1)
	if err != nil {
		return r.bad("read", err)
	}
	r.body, r.sum = body, &summing{r: body, h: sha256.New()}
	if r.dec, err = zstd.NewReader(r.sum, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(1<<20)); err != nil {
		return r.bad("read", err)
	}
	r.in = bufio.NewReaderSize(r.dec, 64<<10)
	if n, err := r.head(dagcbor.MajorArray); err != nil || n != 5 {
		return r.bad("its header", err)
	}
	for _, want := range []string{magic, "", r.m.Stream} {
		if want == "" {
			if v, err := r.head(dagcbor.MajorUint); err != nil || v != version {
				return r.bad("its version", err)
			}
			continue
		}
		n, err := r.head(dagcbor.MajorText)
		if err != nil || n != uint64(len(want)) {
			return r.bad("its header", err)
		}
		got := make([]byte, n)
		if _, err := io.ReadFull(r.in, got); err != nil || string(got) != want {
			return r.bad("its header", err)
		}
	}
	for _, want := range []int{r.part - 1, len(r.m.Parts)} {
		if v, err := r.head(dagcbor.MajorUint); err != nil || v != uint64(want) {
			return r.bad("its number", err)
		}
	}
	r.left = p.Pairs
	return nil
}

// endPart wants nothing to be left of a part, and its bytes to be those of the manifest.
func (r *reader) endPart() error {
	defer r.close()
	if _, err := r.in.ReadByte(); !errors.Is(err, io.EOF) {
		return r.bad("it is longer than the manifest says", err)
	}
	if _, err := io.Copy(io.Discard, r.sum); err != nil {
		return r.bad("read", err)
	}
	p := r.m.Parts[r.part-1]
	if r.sum.n != p.Bytes || hex.EncodeToString(r.sum.h.Sum(nil)) != p.SHA256 {
		return r.bad("it does not match its SHA-256", nil)
	}
	return nil
}

func (r *reader) close() {
	if r.dec != nil {
		r.dec.Close()
		r.dec = nil
	}
	if r.body != nil {
		_ = r.body.Close() // it was read
		r.body = nil
	}
}

// bytes appends a byte string to the buffer.
func (r *reader) bytes() error {
	n, err := r.head(dagcbor.MajorBytes)
	if err != nil || n > maxPair {
		return r.bad("a pair", err)
	}
	at := len(r.buf)
	r.buf = slices.Grow(r.buf, int(n))[:at+int(n)]
	if _, err := io.ReadFull(r.in, r.buf[at:]); err != nil {
		return r.bad("a pair", err)
	}
	return nil
}

// head reads the head of an item, which must be of a major type, and returns its number.
func (r *reader) head(major byte) (uint64, error) {
	first, err := r.in.ReadByte()
	if err != nil {
		return 0, noEOF(err)
	}
	if first>>5 != major {
		return 0, fmt.Errorf("an item of major type %d, not %d", first>>5, major)
	}
	n := uint64(first & 31)
	if n < 24 {
		return n, nil
	}
	if n > 27 {
		return 0, errors.New("an item of no length")
	}
	size := 1 << (n - 24)
	n = 0
	for range size {
		b, err := r.in.ReadByte()
		if err != nil {
			return 0, noEOF(err)
		}
		n = n<<8 | uint64(b)
	}
	return n, nil
}

func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
