package checkpoint

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"hash/fnv"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/cistern-archive/cistern/index"
	"github.com/cistern-archive/cistern/segmentlog/bucket"
	"github.com/cistern-archive/cistern/segmentlog/dagcbor"
)

// partBytes is about how much of the index's disk goes into a part: below 64 MiB as it is
// written, since that is compressed better.
const partBytes = 48 << 20

// kept is how many checkpoints stay.
const kept = 2

// WriteOptions says what is written, and to where.
type WriteOptions struct {
	Index  *index.Index
	Stream string
	Bucket bucket.Bucket
	Dir    string // a folder for the parts until they are sent; it is emptied
	// May says whether the archive may be written (ship.Archive.Check).
	May func(context.Context) error
	// Shipped waits until the archive holds the log up to a seq: a checkpoint that is ahead
	// of what can be restored helps nobody.
	Shipped func(ctx context.Context, seq uint64) error
	Now     func() time.Time
}

// Write writes a checkpoint and removes all but the last two. It returns the seq, 0 where
// there was nothing to write.
func Write(ctx context.Context, o WriteOptions) (seq uint64, err error) {
	if err := os.RemoveAll(o.Dir); err != nil {
		return 0, err
	}
	if err := os.MkdirAll(o.Dir, 0o755); err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(o.Dir)) }()
	m := &Manifest{Version: version, Stream: o.Stream, Schema: index.Schema, Created: o.Now().UTC()}
	if err := dump(ctx, o, m); err != nil || m.Seq == 0 {
		return 0, err
	}
	if _, err := o.Bucket.Stat(ctx, folder(m.Seq)+manifestName); err == nil {
		return m.Seq, nil // nothing happened since
	}
	if err := o.Shipped(ctx, m.Seq); err != nil {
		return 0, err
	}
	if err := o.May(ctx); err != nil {
		return 0, err
	}
	if err := send(ctx, o, m); err != nil {
		return 0, err
	}
	return m.Seq, prune(ctx, o.Bucket)
}

// dump writes the index into the parts' files.
func dump(ctx context.Context, o WriteOptions, m *Manifest) error {
	n := int(min(o.Index.Bytes()/partBytes+1, maxParts))
	parts := make([]*partWriter, n)
	defer func() {
		for _, p := range parts {
			if p != nil {
				p.close()
			}
		}
	}()
	for i := range parts {
		var err error
		if parts[i], err = newPartWriter(filepath.Join(o.Dir, partName(i)), o.Stream, i, n); err != nil {
			return err
		}
	}
	var err error
	m.Seq, err = o.Index.Dump(ctx, func(key, value []byte) error {
		h := fnv.New32a()
		_, _ = h.Write(index.KeyDID(key)) // never fails
		return parts[h.Sum32()%uint32(n)].add(key, value)
	})
	if err != nil {
		return err
	}
	for i, p := range parts {
		part, err := p.finish()
		if err != nil {
			return err
		}
		part.Name = partName(i)
		m.Parts = append(m.Parts, part)
	}
	return nil
}

// send uploads the parts, then the manifest. What an earlier try left is written over.
func send(ctx context.Context, o WriteOptions, m *Manifest) error {
	for _, p := range m.Parts {
		if err := sendPart(ctx, o, folder(m.Seq)+p.Name, filepath.Join(o.Dir, p.Name), p); err != nil {
			return fmt.Errorf("checkpoint: %s: %w", p.Name, err)
		}
	}
	_, err := o.Bucket.Create(ctx, folder(m.Seq)+manifestName, bucket.BytesBody(m.encode()))
	return err
}

func sendPart(ctx context.Context, o WriteOptions, key, path string, p Part) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	sum, err := hex.DecodeString(p.SHA256)
	if err != nil {
		return err
	}
	body := bucket.Body{Size: p.Bytes, SHA256: [sha256.Size]byte(sum), Bytes: f}
	_, err = o.Bucket.Create(ctx, key, body)
	if errors.Is(err, bucket.ErrExists) { // of a try that wrote no manifest
		if err = o.Bucket.Delete(ctx, key); err == nil {
			_, err = o.Bucket.Create(ctx, key, body)
		}
	}
	if err != nil {
		return err
	}
	return bucket.Confirm(ctx, o.Bucket, key, body)
}

// partWriter writes a part: a header, then pairs, as a CBOR sequence in one zstd stream.
type partWriter struct {
	f     *os.File
	out   *bufio.Writer
	h     hash.Hash
	enc   *zstd.Encoder
	buf   []byte
	pairs uint64
	bytes int64
}

func newPartWriter(path, stream string, i, n int) (*partWriter, error) {
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	p := &partWriter{f: f, h: sha256.New()}
	p.out = bufio.NewWriterSize(io.MultiWriter(f, p.h, (*counter)(&p.bytes)), 64<<10)
	p.enc, err = zstd.NewWriter(p.out, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(256<<10), zstd.WithEncoderCRC(true))
	if err != nil {
		_ = f.Close() // nothing is in it
		return nil, err
	}
	b := dagcbor.AppendHead(nil, dagcbor.MajorArray, 5)
	b = dagcbor.AppendText(b, magic)
	b = dagcbor.AppendUint(b, version)
	b = dagcbor.AppendText(b, stream)
	b = dagcbor.AppendUint(dagcbor.AppendUint(b, uint64(i)), uint64(n))
	_, err = p.enc.Write(b)
	return p, err
}

// counter counts what is written.
type counter int64

func (c *counter) Write(b []byte) (int, error) {
	*c += counter(len(b))
	return len(b), nil
}

func (p *partWriter) add(key, value []byte) error {
	p.buf = dagcbor.AppendHead(p.buf[:0], dagcbor.MajorArray, 2)
	p.buf = dagcbor.AppendBytes(dagcbor.AppendBytes(p.buf, key), value)
	p.pairs++
	_, err := p.enc.Write(p.buf)
	return err
}

func (p *partWriter) finish() (Part, error) {
	if err := errors.Join(p.enc.Close(), p.out.Flush()); err != nil {
		return Part{}, err
	}
	return Part{Bytes: p.bytes, SHA256: hex.EncodeToString(p.h.Sum(nil)), Pairs: p.pairs}, nil
}

func (p *partWriter) close() {
	_ = p.enc.Close() // it was finished, or is given up
	_ = p.f.Close()   // it was flushed, or is given up
}
