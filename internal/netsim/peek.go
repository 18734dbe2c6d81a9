package netsim

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"

	"github.com/cistern-archive/cistern/segmentlog/dagcbor"
)

// Peeked is what a canonical frame says of itself, without trusting more of it than
// the two maps. It is a second reader on purpose: the simulator must not judge a
// relay with the relay's own parser.
type Peeked struct {
	Kind   string // the header's t; "error" for op -1
	Seq    uint64 // 0 when the frame has none
	DID    string
	Rev    string
	Time   string
	Digest Digest // SHA-256 with seq written as 0

	seqFrom, seqTo int // where the value of seq stands; equal when there is none
}

// Peek reads a canonical frame; anything else is an error.
func Peek(frame []byte) (Peeked, error) {
	p := Peeked{}
	r := &dagcbor.Reader{Buf: frame}
	if err := p.header(r); err != nil {
		return p, fmt.Errorf("frame header: %w", err)
	}
	if err := p.payload(r); err != nil {
		return p, fmt.Errorf("frame payload: %w", err)
	}
	if r.Rest() != 0 {
		return p, dagcbor.ErrTrailing
	}
	h := sha256.New()
	h.Write(frame[:p.seqFrom])
	if p.seqTo > p.seqFrom {
		h.Write([]byte{0})
	}
	h.Write(frame[p.seqTo:])
	h.Sum(p.Digest[:0])
	return p, nil
}

func (p *Peeked) header(r *dagcbor.Reader) error {
	n, err := r.Map()
	var key []byte
	for ; n > 0 && err == nil; n-- {
		if key, err = r.KeyAfter(key); err != nil {
			break
		}
		switch string(key) {
		case "t":
			err = readText(r, &p.Kind)
		case "op":
			var op int64
			if op, err = r.Int(); err == nil && op != 1 {
				p.Kind = "error"
			}
		default:
			err = r.Skip()
		}
	}
	return err
}

func (p *Peeked) payload(r *dagcbor.Reader) error {
	n, err := r.Map()
	var key []byte
	for ; n > 0 && err == nil; n-- {
		if key, err = r.KeyAfter(key); err != nil {
			break
		}
		switch string(key) {
		case "seq":
			p.seqFrom = r.Off
			p.Seq, err = r.Uint()
			p.seqTo = r.Off
		case "did", "repo":
			err = readText(r, &p.DID)
		case "rev":
			err = readText(r, &p.Rev)
		case "time":
			err = readText(r, &p.Time)
		default:
			err = r.Skip()
		}
	}
	return err
}

func readText(r *dagcbor.Reader, dst *string) error {
	b, err := r.Text()
	*dst = string(b)
	return err
}

// errNoSeq is what Splice says of a frame without a number.
var errNoSeq = errors.New("frame has no seq")

// Splice returns a canonical frame with another number.
func Splice(frame []byte, seq uint64) ([]byte, error) {
	p, err := Peek(frame)
	if err != nil {
		return nil, err
	}
	if p.seqTo == p.seqFrom {
		return nil, errNoSeq
	}
	return slices.Concat(frame[:p.seqFrom], uintValue(seq), frame[p.seqTo:]), nil
}
