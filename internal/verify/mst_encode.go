package verify

import (
	"crypto/sha256"

	"github.com/cistern-archive/cistern/segmentlog/dagcbor"
)

// emptyTree is the CID of the one node of a tree without keys:
// bafyreie5737gdxlw5i64vzichcalba3z2v5n6icifvx5xytvske7mr3hpm.
var emptyTree = nodeSum(appendNode(nil, new(node), nil))

// cidOf returns the CID of a subtree, encoding and hashing the nodes that changed
// and no others.
func (t *tree) cidOf(l link) []byte {
	n := l.node
	if n == nil || !n.dirty {
		return l.cid
	}
	if n.hashed {
		return n.sum[:]
	}
	for i := 0; i <= len(n.entries); i++ {
		t.cidOf(n.gap(i)) // before t.enc is in use
	}
	t.enc = appendNode(t.enc[:0], n, t.cidOf)
	n.sum, n.hashed = nodeSum(t.enc), true
	return n.sum[:]
}

// appendNode appends the one canonical encoding of a node (the repository page, "MST
// nodes"); cidOf gives the CID of a subtree that is not none.
func appendNode(dst []byte, n *node, cidOf func(link) []byte) []byte {
	dst = append(dst, "\xa2\x61e"...)
	dst = dagcbor.AppendHead(dst, dagcbor.MajorArray, uint64(len(n.entries)))
	var prev []byte
	for i := range n.entries {
		e := &n.entries[i]
		prefix := commonPrefix(prev, e.key)
		dst = append(dst, "\xa4\x61k"...)
		dst = dagcbor.AppendBytes(dst, e.key[prefix:])
		dst = append(dst, "\x61p"...)
		dst = dagcbor.AppendUint(dst, uint64(prefix))
		dst = append(dst, "\x61t"...)
		dst = appendSubtree(dst, e.right, cidOf)
		dst = append(dst, "\x61v"...)
		dst = dagcbor.AppendCID(dst, e.value)
		prev = e.key
	}
	dst = append(dst, "\x61l"...)
	return appendSubtree(dst, n.left, cidOf)
}

func appendSubtree(dst []byte, l link, cidOf func(link) []byte) []byte {
	if l.none() {
		return dagcbor.AppendNull(dst)
	}
	return dagcbor.AppendCID(dst, cidOf(l))
}

func nodeSum(encoded []byte) (cid [cidSize]byte) {
	sum := sha256.Sum256(encoded)
	copy(cid[:], []byte{cidVersion, codecDagCBOR, hashSHA256, hashSHASize})
	copy(cid[4:], sum[:])
	return cid
}

func commonPrefix(a, b []byte) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}
