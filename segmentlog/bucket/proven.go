package bucket

import (
	"crypto/sha256"
	"hash"
	"io"
)

// proven reads a body and gives its last bytes only when the whole matches its hash, so
// that a store that counts bytes never takes a body that rotted.
type proven struct {
	key  string
	body Body
	h    hash.Hash
	off  int64
	err  error // what was wrong with the body
}

func newProven(key string, body Body) *proven { return &proven{key: key, body: body, h: sha256.New()} }

func (p *proven) Read(b []byte) (int, error) {
	if p.err != nil {
		return 0, p.err
	}
	left := p.body.Size - p.off
	if left == 0 {
		if p.body.Size == 0 {
			if err := p.prove(); err != nil {
				return 0, err
			}
		}
		return 0, io.EOF
	}
	b = b[:min(int64(len(b)), left)]
	n, err := p.body.Bytes.ReadAt(b, p.off)
	if n < len(b) {
		if err == nil || err == io.EOF {
			err = &MismatchError{Key: p.key, Want: p.body, Size: p.off + int64(n)}
		}
		p.err = err
		return 0, err
	}
	p.h.Write(b)
	p.off += int64(n)
	if p.off == p.body.Size {
		if err := p.prove(); err != nil {
			return 0, err
		}
	}
	return n, nil
}

func (p *proven) prove() error {
	sum := p.h.Sum(nil)
	if [sha256.Size]byte(sum) != p.body.SHA256 {
		p.err = &MismatchError{Key: p.key, Want: p.body, Size: p.off, Sum: sum}
	}
	return p.err
}
