package netsim

import (
	"crypto/sha256"
	"encoding/binary"

	"github.com/cistern-archive/cistern/segmentlog/dagcbor"
	"github.com/ipfs/go-cid"
)

// block is one block of a CAR file: a binary CIDv1 and what it names.
type block struct {
	cid  []byte
	data []byte
}

// codecDagCBOR is the multicodec of every block of a repository.
const codecDagCBOR = 0x71

// cidOf makes the binary CIDv1 of DAG-CBOR: version, codec, SHA-256, 32 bytes.
func cidOf(data []byte) []byte {
	sum := sha256.Sum256(data)
	return append([]byte{0x01, codecDagCBOR, 0x12, 0x20}, sum[:]...)
}

func newBlock(data []byte) block { return block{cid: cidOf(data), data: data} }

// asCID turns a binary CID that we made into the library's form.
func asCID(b []byte) cid.Cid {
	c, err := cid.Cast(b)
	if err != nil {
		return cid.Undef // only for CIDs that a lie made bad, and those never come here
	}
	return c
}

// carFile is a CAR version 1 file before encoding. Lies edit it.
type carFile struct {
	version uint64
	roots   [][]byte
	blocks  []block
}

func (c *carFile) encode() []byte {
	header := dagcbor.AppendHead(nil, dagcbor.MajorMap, 2)
	header = dagcbor.AppendText(header, "roots")
	header = dagcbor.AppendHead(header, dagcbor.MajorArray, uint64(len(c.roots)))
	size := 16
	for _, r := range c.roots {
		header = dagcbor.AppendCID(header, r)
	}
	header = dagcbor.AppendText(header, "version")
	header = dagcbor.AppendUint(header, c.version)
	for _, b := range c.blocks {
		size += len(b.cid) + len(b.data) + binary.MaxVarintLen32
	}
	out := make([]byte, 0, size+len(header))
	out = binary.AppendUvarint(out, uint64(len(header)))
	out = append(out, header...)
	for _, b := range c.blocks {
		out = binary.AppendUvarint(out, uint64(len(b.cid)+len(b.data)))
		out = append(out, b.cid...)
		out = append(out, b.data...)
	}
	return out
}
