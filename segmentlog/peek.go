package segmentlog

import (
	"bytes"

	"github.com/cistern-archive/cistern/segmentlog/dagcbor"
)

// peeked is what a footer counts of a frame.
type peeked struct {
	kind        []byte   // the header's t
	collections [][]byte // of each op, in order
}

// peek reads the kind and the ops' collections of a frame, as far as it can be
// read: a frame that is not of the event stream has neither.
func (p *peeked) peek(frame []byte) {
	p.kind, p.collections = nil, p.collections[:0]
	r := dagcbor.Reader{Buf: frame}
	_ = eachPair(&r, func(key []byte) error { // what cannot be read is not counted
		if string(key) != "t" {
			return r.Skip()
		}
		var err error
		p.kind, err = r.Text()
		return err
	})
	if string(p.kind) != "#commit" {
		return
	}
	_ = eachPair(&r, func(key []byte) error { // the same
		if string(key) != "ops" {
			return r.Skip()
		}
		return p.ops(&r)
	})
}

func (p *peeked) ops(r *dagcbor.Reader) error {
	n, err := r.Array()
	for ; n > 0 && err == nil; n-- {
		err = eachPair(r, func(key []byte) error {
			if string(key) != "path" {
				return r.Skip()
			}
			path, err := r.Text()
			if i := bytes.IndexByte(path, '/'); i >= 0 {
				p.collections = append(p.collections, path[:i])
			}
			return err
		})
	}
	return err
}

// eachPair calls f at the value of each pair of the map that is next.
func eachPair(r *dagcbor.Reader, f func(key []byte) error) error {
	n, err := r.Map()
	for ; n > 0 && err == nil; n-- {
		var key []byte
		if key, err = r.Text(); err == nil {
			err = f(key)
		}
	}
	return err
}
