package index

import (
	"encoding/binary"

	"github.com/cistern-archive/cistern/index/disposable"
)

// errValue says that a value is not of the form that this package writes.
var errValue = disposable.ErrValue

func appendString(dst []byte, s string) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(s)))
	return append(dst, s...)
}

// decoder reads the parts of a value. After the first that is not there it reads
// nothing more and err is set.
type decoder struct {
	b   []byte
	err error
}

func (d *decoder) fail() {
	d.b, d.err = nil, errValue
}

func (d *decoder) uint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.fail()
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) byte() byte {
	b := d.fixed(1)
	if len(b) == 0 {
		return 0
	}
	return b[0]
}

// fixed returns n bytes, or nil when there are not as many.
func (d *decoder) fixed(n int) []byte {
	if len(d.b) < n {
		d.fail()
		return nil
	}
	b := d.b[:n]
	d.b = d.b[n:]
	return b
}

// bytes reads a string, aliasing the value.
func (d *decoder) bytes() []byte {
	n := d.uint()
	if n > uint64(len(d.b)) {
		d.fail()
		return nil
	}
	return d.fixed(int(n))
}

// done returns the error, which is set too when bytes are left over.
func (d *decoder) done() error {
	if len(d.b) > 0 {
		d.fail()
	}
	return d.err
}

// names makes one string of texts that repeat, such as hostnames. nil makes a new
// one each time. It is bounded: past its bound new names are not remembered.
type names map[string]string

const maxNames = 1 << 16

func (n names) of(b []byte) string {
	if s, ok := n[string(b)]; ok {
		return s
	}
	s := string(b)
	if n != nil && len(n) < maxNames {
		n[s] = s
	}
	return s
}
