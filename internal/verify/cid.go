package verify

import (
	"encoding/binary"

	"github.com/cistern-archive/cistern/segmentlog/dagcbor"
)

// cidSize is the length of the one CID form that can name a block here: version 1,
// codec dag-cbor or raw, SHA-256 (the repository page, "CID formats").
const cidSize = 36

// The parts of a CID's head: version, codec, hash function, digest length.
const (
	cidVersion   = 0x01
	codecDagCBOR = 0x71
	codecRaw     = 0x55
	hashSHA256   = 0x12
	hashSHASize  = 0x20
)

// blockCID says whether c can name a block of a repo.
func blockCID(c []byte) bool { return dagcbor.ValidCID(c) }

// nodeCID says whether c can name a commit or an MST node: a blockCID of codec
// dag-cbor.
func nodeCID(c []byte) bool { return blockCID(c) && c[1] == codecDagCBOR }

// anyCID says whether c has the shape of a CID at all, whatever its codec and hash:
// what the value of an MST entry must have, because old repos hold odd ones.
func anyCID(c []byte) bool {
	if len(c) == 34 && c[0] == hashSHA256 && c[1] == hashSHASize {
		return true // version 0: a bare SHA-256 multihash
	}
	var field [4]uint64 // version, codec, hash function, digest length
	for i := range field {
		v, n := binary.Uvarint(c)
		if n <= 0 {
			return false
		}
		field[i], c = v, c[n:]
	}
	return field[0] == cidVersion && field[3] == uint64(len(c))
}
