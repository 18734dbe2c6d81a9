package verify

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"

	"github.com/cistern-archive/cistern/segmentlog/dagcbor"
)

// A CAR version 1 file (https://ipld.io/specs/transport/car/carv1/) is
//
//	varint length | header: DAG-CBOR map {roots: [CID, …], version: 1}
//	varint length | CID | data        … as many blocks as there are
//
// The length of a block covers its CID and its data.

// block is one block of the CAR; both slices alias the frame.
type block struct {
	cid  []byte // cidSize bytes
	data []byte
	node bool // decoded as an MST node already (T33: not twice)
}

// blockTable finds a CAR's blocks by CID. It is reused from frame to frame.
type blockTable struct {
	list []block
	// index is open addressing over 1 + a position in list, 0 where free. Its hash
	// is a multiplication with a random odd number, so that no host can choose CIDs
	// that collide and make look-ups quadratic.
	index []int32
	mul   uint64
	shift uint
}

var (
	errVarint    = errors.New("bad varint")
	errTruncated = errors.New("ends early")
)

// reset forgets the last frame's blocks.
func (t *blockTable) reset() {
	clear(t.list)
	t.list = t.list[:0]
	if t.mul == 0 {
		t.mul = rand.Uint64() | 1
	}
}

// uvarint reads a length that must fit in the bytes after it.
func uvarint(b []byte) (n int, rest []byte, err error) {
	v, w := binary.Uvarint(b)
	if w <= 0 {
		return 0, nil, errVarint
	}
	if v > uint64(len(b)-w) {
		return 0, nil, errTruncated
	}
	return int(v), b[w:], nil
}

// readCARHeader returns the first root and the bytes of the blocks. Further roots
// are allowed (T23); so are header keys in any order, which CAR readers accept.
//
// T22, repository page: a CAR of version 1 with a root.
func readCARHeader(car []byte) (root, blocks []byte, err error) {
	n, rest, err := uvarint(car)
	if err != nil {
		return nil, nil, drop(22, "car_header", err)
	}
	r := dagcbor.Reader{Buf: rest[:n]}
	pairs, err := r.Map()
	if err != nil {
		return nil, nil, drop(22, "car_header", err)
	}
	version, roots := uint64(0), -1
	for ; pairs > 0; pairs-- {
		key, err := r.Text()
		if err != nil {
			return nil, nil, drop(22, "car_header", err)
		}
		switch {
		case string(key) == "version" && version == 0:
			version, err = r.Uint()
		case string(key) == "roots" && roots < 0:
			root, roots, err = readRoots(&r)
		default:
			err = fmt.Errorf("unexpected or repeated key %q", key)
		}
		if err != nil {
			return nil, nil, drop(22, "car_header", err)
		}
	}
	switch {
	case r.Rest() != 0:
		return nil, nil, drop(22, "car_header", dagcbor.ErrTrailing)
	case version != 1:
		return nil, nil, drop(22, "car_version", fmt.Errorf("version %d", version))
	case roots < 1:
		return nil, nil, drop(22, "car_no_root", nil)
	}
	return root, rest[n:], nil
}

func readRoots(r *dagcbor.Reader) (first []byte, n int, err error) {
	if n, err = r.Array(); err != nil {
		return nil, 0, err
	}
	for i := range n {
		c, err := r.CID()
		if err != nil {
			return nil, 0, err
		}
		if !anyCID(c) {
			return nil, 0, errors.New("a root that is not a CID")
		}
		if i == 0 {
			first = c
		}
	}
	return first, n, nil
}

// nextBlock reads one block of a CAR.
func nextBlock(b []byte) (cid, data, rest []byte, err error) {
	n, rest, err := uvarint(b)
	if err != nil {
		return nil, nil, nil, err
	}
	if n < cidSize || !blockCID(rest[:cidSize]) {
		return nil, nil, nil, errors.New("block without a CIDv1 of codec dag-cbor or raw and SHA-256")
	}
	return rest[:cidSize:cidSize], rest[cidSize:n:n], rest[n:], nil
}

// readBlocks reads all blocks of a CAR and hashes each once. Blocks may come in any
// order, twice, and without being linked from anywhere.
//
// T23, repository page: not truncated, and every block is what its CID says.
func (t *blockTable) readBlocks(b []byte) error {
	for len(b) > 0 {
		cid, data, rest, err := nextBlock(b)
		if err != nil {
			return drop(23, "car_block", err)
		}
		if sha256.Sum256(data) != [sha256.Size]byte(cid[4:]) {
			return drop(23, "block_hash", nil)
		}
		t.list = append(t.list, block{cid: cid, data: data})
		b = rest
	}
	t.buildIndex()
	return nil
}

func (t *blockTable) buildIndex() {
	size, bits := 16, uint(4)
	for size < 2*len(t.list) {
		size, bits = size*2, bits+1
	}
	if cap(t.index) < size {
		t.index = make([]int32, size)
	} else {
		t.index = t.index[:size]
		clear(t.index)
	}
	t.shift = 64 - bits
	for i := range t.list {
		slot, found := t.slot(t.list[i].cid)
		if !found {
			t.index[slot] = int32(i + 1)
		}
	}
}

// slot returns where cid stands in the index, or the free place where it would.
func (t *blockTable) slot(cid []byte) (slot int, found bool) {
	slot = int(binary.LittleEndian.Uint64(cid[4:]) * t.mul >> t.shift)
	for {
		i := t.index[slot]
		if i == 0 {
			return slot, false
		}
		if bytes.Equal(t.list[i-1].cid, cid) {
			return slot, true
		}
		slot = (slot + 1) & (len(t.index) - 1)
	}
}

// find returns the block of a CID, nil when the CAR has none.
func (t *blockTable) find(cid []byte) *block {
	if len(cid) != cidSize {
		return nil
	}
	slot, found := t.slot(cid)
	if !found {
		return nil
	}
	return &t.list[t.index[slot]-1]
}
