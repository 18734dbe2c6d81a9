package segmentlog

import (
	"crypto/sha256"
	"fmt"

	"github.com/transparency-dev/merkle/compact"
	"github.com/transparency-dev/merkle/rfc6962"

	"github.com/cistern-archive/cistern/segmentlog/dagcbor"
)

// HashSize is the length of every hash of the tree, in bytes.
const HashSize = sha256.Size

// One RFC 6962 tree stands over the whole log; docs/format/tree.md. A compact
// range is the minimal list of perfect subtrees that cover leaves [begin, end).
var ranges = &compact.RangeFactory{Hash: rfc6962.DefaultHasher.HashChildren}

const (
	leafFields = 10 // fields 0–8 of the record and the SHA-256 of its frame
	leafHead   = dagcbor.MajorArray<<5 | leafFields
	leafPrefix = 0x00 // RFC 6962, section 2.1
)

// leafHash returns the leaf of the record whose encoding is raw:
//
//	SHA-256(0x00 ‖ CBOR [fields 0–8, SHA-256(frame as served)])
//
// The record is deterministic CBOR, so its own bytes are what is hashed. For an
// erased record field 10 is the hash of the frame as it was. It returns the frame as
// well, and scratch, which is reused.
func leafHash(raw []byte, scratch []byte) (leaf [HashSize]byte, frame, out []byte, err error) {
	rd := dagcbor.Reader{Buf: raw}
	if n, err := rd.Array(); err != nil || n != recordFields {
		return leaf, nil, scratch, fmt.Errorf("leaf: %w", ErrRecordForm)
	}
	start := rd.Off
	for range 9 {
		if err := rd.Skip(); err != nil {
			return leaf, nil, scratch, fmt.Errorf("leaf: %w", err)
		}
	}
	fields := raw[start:rd.Off]
	if frame, err = rd.Bytes(); err != nil {
		return leaf, nil, scratch, fmt.Errorf("leaf: %w", err)
	}
	digest, err := bytesOrNull(&rd)
	if err != nil {
		return leaf, nil, scratch, fmt.Errorf("leaf: %w", err)
	}
	if digest != nil && len(digest) != HashSize {
		return leaf, nil, scratch, fmt.Errorf("leaf: digest of %d bytes: %w", len(digest), ErrRecordForm)
	}
	if digest == nil {
		sum := sha256.Sum256(frame)
		digest = sum[:]
	}
	scratch = append(scratch[:0], leafPrefix, leafHead)
	scratch = append(scratch, fields...)
	scratch = dagcbor.AppendBytes(scratch, digest)
	return sha256.Sum256(scratch), frame, scratch, nil
}

// LeafHash returns the tree's leaf of the record whose encoding is raw.
func LeafHash(raw []byte) ([HashSize]byte, error) {
	leaf, _, _, err := leafHash(raw, nil)
	return leaf, err
}

// rangeOf returns the compact range with the given hashes, which it copies.
func rangeOf(begin, end uint64, hashes [][]byte) (*compact.Range, error) {
	own := make([][]byte, len(hashes))
	for i, h := range hashes {
		if len(h) != HashSize {
			return nil, fmt.Errorf("tree: hash %d has %d bytes", i, len(h))
		}
		own[i] = append([]byte(nil), h...)
	}
	r, err := ranges.NewRange(begin, end, own)
	if err != nil {
		return nil, fmt.Errorf("tree: %w", err)
	}
	return r, nil
}

// extend adds the leaves of a segment to the tree of what stands before it.
func extend(tree *compact.Range, f *Footer) error {
	own, err := rangeOf(f.FirstLeaf, f.FirstLeaf+f.Count, f.Leaves)
	if err != nil {
		return fmt.Errorf("leaves: %w", err)
	}
	if err := tree.AppendRange(own, nil); err != nil {
		return fmt.Errorf("tree: %w", err)
	}
	return nil
}

// rootOf returns the root of a range that begins at 0; that of no leaves is
// SHA-256 of nothing (RFC 6962).
func rootOf(r *compact.Range) ([]byte, error) {
	if r.End() == 0 {
		return rfc6962.DefaultHasher.EmptyRoot(), nil
	}
	return r.GetRootHash(nil)
}
