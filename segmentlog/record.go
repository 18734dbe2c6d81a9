package segmentlog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/cistern-archive/cistern/segmentlog/dagcbor"
)

// Bounds of the format; decoders check them before they allocate or copy.
const (
	// MaxRecord is the largest encoded record, in bytes.
	MaxRecord = 6 << 20
	// MaxSeq is the largest sequence number: 2^53-1, what a JSON client can hold.
	MaxSeq = 1<<53 - 1

	recordFields = 12
	digestSize   = 32                                   // SHA-256
	recordHead   = dagcbor.MajorArray<<5 | recordFields // first byte of every record
)

// Errors of decoding a record. A caller that knows the file wraps them in a
// CorruptError.
var (
	ErrRecordTooLarge = errors.New("record is larger than 6 MiB")
	ErrRecordForm     = errors.New("not a log record")
	ErrRecordCRC      = errors.New("record does not match its CRC-32C")
	ErrTruncated      = dagcbor.ErrTruncated
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Record is one event of the log (docs/format/record.md). Its byte slices alias
// the buffer it was decoded from.
type Record struct {
	Seq       uint64 // 1 … MaxSeq
	Witnessed int64  // Unix µs when Cistern accepted the event; never decreases
	DID       []byte
	Host      []byte // upstream hostname; empty for an event of our own
	HostEpoch uint64
	HostSeq   uint64
	HostFloor uint64
	Verdict   Verdict
	Key       []byte // multicodec public key, nil for none
	Frame     []byte // the exact WebSocket message served
	Digest    []byte // nil, or after erasure SHA-256 of the frame as it was
}

// fields are the fields 0–8 of a record, before the frame.
type fields[T string | []byte] struct {
	seq       uint64
	witnessed int64
	did, host T
	hostEpoch uint64
	hostSeq   uint64
	hostFloor uint64
	verdict   Verdict
	key       []byte
}

// append appends the head of the record and the fields.
func (f *fields[T]) append(dst []byte) []byte {
	dst = append(dst, recordHead)
	dst = dagcbor.AppendUint(dst, f.seq)
	dst = dagcbor.AppendUint(dst, uint64(f.witnessed))
	dst = append(dagcbor.AppendHead(dst, dagcbor.MajorText, uint64(len(f.did))), f.did...)
	dst = append(dagcbor.AppendHead(dst, dagcbor.MajorText, uint64(len(f.host))), f.host...)
	dst = dagcbor.AppendUint(dst, f.hostEpoch)
	dst = dagcbor.AppendUint(dst, f.hostSeq)
	dst = dagcbor.AppendUint(dst, f.hostFloor)
	dst = dagcbor.AppendUint(dst, uint64(f.verdict))
	return appendBytesOrNull(dst, f.key)
}

// appendDigestAndCRC ends the record that begins at start, after its frame.
func appendDigestAndCRC(dst []byte, start int, digest []byte) []byte {
	dst = appendBytesOrNull(dst, digest)
	return dagcbor.AppendUint(dst, uint64(crc32.Checksum(dst[start:], castagnoli)))
}

// appendEntry appends the record of e under seq and returns the buffer and where
// in it the frame stands.
func appendEntry(dst []byte, seq uint64, witnessed int64, e *Entry) (out []byte, frameOff, frameLen int) {
	start := len(dst)
	var num [9]byte
	seqItem := dagcbor.AppendUint(num[:0], seq)
	frameLen = len(e.Head) + len(seqItem) + len(e.Tail)

	f := fields[string]{seq, witnessed, e.DID, e.Host, e.HostEpoch, e.HostSeq, e.HostFloor, e.Verdict, e.Key}
	dst = dagcbor.AppendHead(f.append(dst), dagcbor.MajorBytes, uint64(frameLen))
	frameOff = len(dst)
	dst = append(dst, e.Head...)
	dst = append(dst, seqItem...)
	dst = append(dst, e.Tail...)
	return appendDigestAndCRC(dst, start, nil), frameOff, frameLen
}

// AppendRecord appends the encoding of r.
func AppendRecord(dst []byte, r *Record) []byte {
	start := len(dst)
	f := fields[[]byte]{r.Seq, r.Witnessed, r.DID, r.Host, r.HostEpoch, r.HostSeq, r.HostFloor, r.Verdict, r.Key}
	return appendDigestAndCRC(dagcbor.AppendBytes(f.append(dst), r.Frame), start, r.Digest)
}

func appendBytesOrNull(dst, b []byte) []byte {
	if b == nil {
		return dagcbor.AppendNull(dst)
	}
	return dagcbor.AppendBytes(dst, b)
}

// DecodeRecord decodes the record at the start of b into r, checks its CRC and
// returns its length in bytes. It returns ErrTruncated when b may hold only the
// beginning of a record. r aliases b.
func DecodeRecord(b []byte, r *Record) (int, error) {
	if len(b) > MaxRecord {
		b = b[:MaxRecord]
	}
	rd := dagcbor.Reader{Buf: b}
	if n, err := rd.Array(); err != nil || n != recordFields {
		return 0, formError(err, len(b))
	}
	if err := decodeFields(&rd, r); err != nil {
		return 0, formError(err, len(b))
	}
	body := rd.Off
	crc, err := rd.Uint()
	if err != nil {
		return 0, formError(err, len(b))
	}
	if uint64(crc32.Checksum(b[:body], castagnoli)) != crc {
		return 0, ErrRecordCRC
	}
	if r.Seq == 0 || r.Seq > MaxSeq || r.Witnessed < 0 || r.Digest != nil && len(r.Digest) != digestSize {
		return 0, fmt.Errorf("%w: seq %d, witnessed %d, digest of %d bytes", ErrRecordForm, r.Seq, r.Witnessed, len(r.Digest))
	}
	return rd.Off, nil
}

func formError(err error, have int) error {
	switch {
	case err == nil:
		return ErrRecordForm
	case errors.Is(err, dagcbor.ErrTruncated) && have == MaxRecord:
		return ErrRecordTooLarge
	case errors.Is(err, dagcbor.ErrTruncated):
		return err
	}
	return fmt.Errorf("%w: %w", ErrRecordForm, err)
}

func decodeFields(rd *dagcbor.Reader, r *Record) (err error) {
	if r.Seq, err = rd.Uint(); err != nil {
		return err
	}
	if r.Witnessed, err = rd.Int(); err != nil {
		return err
	}
	if r.DID, err = rd.Text(); err != nil {
		return err
	}
	if r.Host, err = rd.Text(); err != nil {
		return err
	}
	if r.HostEpoch, err = rd.Uint(); err != nil {
		return err
	}
	if r.HostSeq, err = rd.Uint(); err != nil {
		return err
	}
	if r.HostFloor, err = rd.Uint(); err != nil {
		return err
	}
	verdict, err := rd.Uint()
	if err != nil {
		return err
	}
	r.Verdict = Verdict(verdict)
	if r.Key, err = bytesOrNull(rd); err != nil {
		return err
	}
	if r.Frame, err = rd.Bytes(); err != nil {
		return err
	}
	r.Digest, err = bytesOrNull(rd)
	return err
}

func bytesOrNull(rd *dagcbor.Reader) ([]byte, error) {
	if rd.Null() {
		return nil, nil
	}
	return rd.Bytes()
}

// recordOverhead bounds what a record needs besides its DID, host, key and frame.
const recordOverhead = 1 + 8*binary.MaxVarintLen64 + 5*9

func entrySize(e *Entry) int {
	return recordOverhead + len(e.DID) + len(e.Host) + len(e.Key) + len(e.Head) + len(e.Tail)
}
