package verify

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"math/bits"
	"sort"
)

// Bounds of an MST node (rows T33; the repository page).
const (
	// maxEntries of one node. At a fanout of 16, honest nodes hold a few dozen at most.
	maxEntries = 1000
	// maxKey in bytes; a repo path has at most 317 + 1 + 512. It also bounds what the
	// prefixes of a node can blow up to.
	maxKey = 1024
)

// errNodeAbsent means that a node which is needed is not in the CAR.
var errNodeAbsent = errors.New("a needed MST node is not in the CAR")

// tree is the part of a Merkle search tree that a CAR holds, and what undoing the
// ops makes of it. Subtrees that are not in the CAR stay links. All its memory is
// reused from frame to frame.
type tree struct {
	blocks *blockTable
	root   link

	nodes []*node // arena of nodes; the first used ones are in use
	used  int
	ents  []entry // arena of entries
	keys  []byte  // arena of key bytes
	enc   []byte  // a node's encoding

	loads int // nodes decoded for this frame, for tests
}

// link points to a subtree: by its CID, by its decoded node, or by both. The zero
// link points nowhere. The CID of a node that changed is stale: see tree.cidOf.
type link struct {
	cid  []byte
	node *node
}

func (l link) none() bool   { return l.cid == nil && l.node == nil }
func (l link) absent() bool { return l.cid != nil && l.node == nil }

// node is one MST node. Gap i stands before entry i: gap 0 is left, gap i the right
// link of entry i-1.
type node struct {
	left    link
	entries []entry
	height  int // leaves are 0

	dirty  bool // changed since it was decoded, or new
	hashed bool // sum is the CID of the changed node
	sum    [cidSize]byte
}

type entry struct {
	key   []byte
	value []byte // CID of a record, in whatever form it has
	right link
}

func (n *node) gap(i int) link {
	if i == 0 {
		return n.left
	}
	return n.entries[i-1].right
}

func (n *node) setGap(i int, l link) {
	if i == 0 {
		n.left = l
	} else {
		n.entries[i-1].right = l
	}
}

func (n *node) empty() bool { return len(n.entries) == 0 && n.left.none() }

// search returns the first entry whose key is not below key, and whether it is key.
func (n *node) search(key []byte) (int, bool) {
	i := sort.Search(len(n.entries), func(i int) bool { return bytes.Compare(n.entries[i].key, key) >= 0 })
	return i, i < len(n.entries) && bytes.Equal(n.entries[i].key, key)
}

// keyHeight is the layer of a key: how many pairs of zero bits SHA-256(key) starts
// with (the repository page, "MST structure").
func keyHeight(key []byte) int {
	sum := sha256.Sum256(key)
	zeros := 0
	for _, b := range sum {
		if b != 0 {
			zeros += bits.LeadingZeros8(b)
			break
		}
		zeros += 8
	}
	return zeros / 2
}

// Scratch that is kept between frames, in items; what an unusual frame needed
// beyond that is given back.
const (
	keepNodes   = 256
	keepEntries = 1024
	keepKeys    = 64 << 10
	keepEnc     = 64 << 10
	keepBlocks  = 512
)

func (t *tree) reset(blocks *blockTable) {
	if cap(t.ents) > keepEntries {
		t.ents = nil
	}
	if cap(t.keys) > keepKeys {
		t.keys = nil
	}
	if cap(t.enc) > keepEnc {
		t.enc = nil
	}
	if len(t.nodes) > keepNodes {
		t.nodes = append([]*node(nil), t.nodes[:keepNodes]...)
	}
	t.blocks, t.root = blocks, link{}
	t.used, t.ents, t.keys, t.loads = 0, t.ents[:0], t.keys[:0], 0
}

func (t *tree) newNode(height int) *node {
	if t.used == len(t.nodes) {
		t.nodes = append(t.nodes, new(node))
	}
	n := t.nodes[t.used]
	t.used++
	n.left, n.entries, n.height, n.dirty, n.hashed = link{}, nil, height, false, false
	return n
}

// newEntries returns room for entries. When the arena is full a larger one takes its
// place; slices of the old one stay valid.
func (t *tree) newEntries(length, capacity int) []entry {
	if cap(t.ents)-len(t.ents) < capacity {
		t.ents = make([]entry, 0, max(256, 2*cap(t.ents), capacity))
	}
	from := len(t.ents)
	t.ents = t.ents[:from+capacity]
	return t.ents[from : from+length : from+capacity]
}

// newKey returns n bytes for a key; like newEntries.
func (t *tree) newKey(n int) []byte {
	if cap(t.keys)-len(t.keys) < n {
		t.keys = make([]byte, 0, max(4096, 2*cap(t.keys), n))
	}
	from := len(t.keys)
	t.keys = t.keys[:from+n]
	return t.keys[from : from+n : from+n]
}

// find returns the value of a key, nil when the tree does not have it, and
// errNodeAbsent when the CAR does not hold the nodes that would show it.
func (t *tree) find(key []byte, height int) ([]byte, error) {
	l := t.root
	for {
		if l.none() {
			return nil, nil
		}
		if l.absent() {
			return nil, errNodeAbsent
		}
		i, found := l.node.search(key)
		if l.node.height <= height {
			if !found {
				return nil, nil
			}
			return l.node.entries[i].value, nil
		}
		l = l.node.gap(i)
	}
}
