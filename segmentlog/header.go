package segmentlog

import (
	"errors"
	"fmt"

	"github.com/cistern-archive/cistern/segmentlog/dagcbor"
)

const (
	headerMagic   = "cistern"
	headerVersion = 1
	saltSize      = 16
	hotFields     = 7 // a hot file adds its salt

	// maxHeader bounds an encoded header: magic, version, id, three numbers, salt.
	maxHeader = 1 + 8 + 9 + 34 + 3*9 + 1 + saltSize
)

// ErrVersion says that a file was written by a later major version of the format.
var ErrVersion = errors.New("written by a newer version of Cistern")

// Header is the first item of every log file:
//
//	["cistern", version, stream id, epoch, first seq, first leaf index]
//
// and, in a hot file, its salt: 16 random bytes, so that no upstream can forge a
// mark.
type Header struct {
	Stream    string // the stream id: 32 lower-case hex digits
	Epoch     uint64
	FirstSeq  uint64
	FirstLeaf uint64
	Salt      []byte // hot files only
}

// encode returns the header item of a hot file.
func (h *Header) encode() []byte {
	dst := dagcbor.AppendHead(nil, dagcbor.MajorArray, hotFields)
	dst = dagcbor.AppendText(dst, headerMagic)
	dst = dagcbor.AppendUint(dst, headerVersion)
	dst = dagcbor.AppendText(dst, h.Stream)
	dst = dagcbor.AppendUint(dst, h.Epoch)
	dst = dagcbor.AppendUint(dst, h.FirstSeq)
	dst = dagcbor.AppendUint(dst, h.FirstLeaf)
	return dagcbor.AppendBytes(dst, h.Salt)
}

// decodeHotHeader decodes the header item of a hot file and returns its length.
func decodeHotHeader(b []byte) (Header, int, error) {
	var h Header
	rd := dagcbor.Reader{Buf: b}
	n, err := rd.Array()
	if err != nil {
		return h, 0, fmt.Errorf("header: %w", err)
	}
	magic, err := rd.Text()
	if err != nil || string(magic) != headerMagic {
		return h, 0, errors.New("header: not a Cistern log file")
	}
	version, err := rd.Uint()
	if err != nil {
		return h, 0, fmt.Errorf("header: %w", err)
	}
	if version < headerVersion {
		return h, 0, fmt.Errorf("header: format version %d was never written", version)
	}
	if version > headerVersion {
		return h, 0, fmt.Errorf("header: format version %d: %w", version, ErrVersion)
	}
	if n != hotFields {
		return h, 0, fmt.Errorf("header: %d fields, a hot file has %d", n, hotFields)
	}
	id, err := rd.Text()
	if err != nil {
		return h, 0, fmt.Errorf("header: stream id: %w", err)
	}
	h.Stream = string(id)
	if !isStreamID(h.Stream) {
		return h, 0, errors.New("header: stream id is not 32 lower-case hex digits")
	}
	for _, p := range []*uint64{&h.Epoch, &h.FirstSeq, &h.FirstLeaf} {
		if *p, err = rd.Uint(); err != nil {
			return h, 0, fmt.Errorf("header: %w", err)
		}
	}
	if h.FirstSeq == 0 || h.FirstSeq > MaxSeq {
		return h, 0, fmt.Errorf("header: first seq %d", h.FirstSeq)
	}
	salt, err := rd.Bytes()
	if err != nil || len(salt) != saltSize {
		return h, 0, errors.New("header: salt is not 16 bytes")
	}
	h.Salt = append([]byte(nil), salt...)
	return h, rd.Off, nil
}
