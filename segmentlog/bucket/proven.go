package bucket

import (
	"crypto/sha256"
	"errors"
	"hash"
	"io"
	"sync"
)

var errGivenBack = errors.New("the body was given back")

// proven reads a body and gives its last bytes only when the whole matches its hash, so
// that a store that counts bytes never takes a body that rotted. HTTP may go on reading
// after the answer came; whose body it is may close it once giveBack returned.
type proven struct {
	key  string
	body Body

	mu  sync.Mutex // guards all below, and is held while the body is read
	h   hash.Hash
	off int64
	err error // what was wrong with the body, or errGivenBack
}

func newProven(key string, body Body) *proven { return &proven{key: key, body: body, h: sha256.New()} }

// giveBack ends all reading of the body and returns what was wrong with it.
func (p *proven) giveBack() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	err := p.err
	p.err = errGivenBack
	return err
}

func (p *proven) Read(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
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
