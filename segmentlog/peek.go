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
	_ = r.Pairs(func(key []byte) error { // what cannot be read is not counted
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
	_ = r.Pairs(func(key []byte) error { // the same
		if string(key) != "ops" {
			return r.Skip()
		}
		return p.ops(&r)
	})
}

func (p *peeked) ops(r *dagcbor.Reader) error {
	n, err := r.Array()
	for ; n > 0 && err == nil; n-- {
		err = r.Pairs(func(key []byte) error {
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
