package verify

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/cistern-archive/cistern/segmentlog/dagcbor"
)

// An MST node is a DAG-CBOR map (the repository page, "MST nodes"):
//
//	{"e": [{"k": bytes, "p": uint, "t": link/null, "v": link}, …], "l": link/null}
//
// p bytes of the previous entry's key and then k make an entry's key.

// loadTree decodes every node that can be reached from root and is in the CAR, each
// once, so that time and memory are linear in the frame's bytes whatever the links
// are.
//
// T33, repository page: keys ascend over the whole tree, a prefix is no longer than
// the previous key, each key stands on its own layer, a node is empty only as the
// root of an empty tree, has at most 1,000 entries, and is reached once.
func (t *tree) loadTree(root []byte) error {
	n, err := t.load(root, -1, nil, nil)
	t.root = link{cid: root, node: n}
	return err
}

// load decodes the node of a CID and those beneath it: nil when the CAR has no such
// block. Keys must be above lo and, unless hi is nil, below hi; a height of -1 means
// the root.
func (t *tree) load(cid []byte, height int, lo, hi []byte) (*node, error) {
	b := t.blocks.find(cid)
	if b == nil {
		return nil, nil
	}
	if b.node {
		return nil, drop(33, "mst_block_twice", nil)
	}
	b.node = true
	t.loads++
	n := t.newNode(height)
	if err := t.decode(n, b.data); err != nil {
		return nil, err
	}
	if err := checkNode(n, lo, hi); err != nil {
		return nil, err
	}
	for i := 0; i <= len(n.entries); i++ {
		gap := n.gap(i)
		if gap.none() {
			continue
		}
		if n.height == 0 {
			return nil, drop(33, "mst_depth", errors.New("a node below layer 0"))
		}
		below, above := lo, hi
		if i > 0 {
			below = n.entries[i-1].key
		}
		if i < len(n.entries) {
			above = n.entries[i].key
		}
		child, err := t.load(gap.cid, n.height-1, below, above)
		if err != nil {
			return nil, err
		}
		n.setGap(i, link{cid: gap.cid, node: child})
	}
	return n, nil
}

// checkNode checks a decoded node's emptiness, layer and order, and sets the height
// of a root.
func checkNode(n *node, lo, hi []byte) error {
	if len(n.entries) == 0 {
		switch {
		case n.height >= 0 && n.left.none():
			return drop(33, "mst_empty_node", nil)
		case n.height < 0 && !n.left.none():
			return drop(33, "mst_empty_node", errors.New("the root only points to a child"))
		}
		n.height = max(n.height, 0)
		return nil
	}
	prev := lo
	for i := range n.entries {
		key := n.entries[i].key
		if bytes.Compare(key, prev) <= 0 { // prev is nil before the first key of the tree, and keys are not empty
			return drop(33, "mst_order", fmt.Errorf("key %q is not above %q", key, prev))
		}
		prev = key
		h := keyHeight(key)
		if n.height < 0 {
			n.height = h
		}
		if h != n.height {
			return drop(33, "mst_depth", fmt.Errorf("key %q of layer %d on layer %d", key, h, n.height))
		}
	}
	if hi != nil && bytes.Compare(prev, hi) >= 0 {
		return drop(33, "mst_order", fmt.Errorf("key %q is not below %q", prev, hi))
	}
	return nil
}

// decode reads a node's block. Its form is fixed, so it is compared literally.
func (t *tree) decode(n *node, data []byte) error {
	r := dagcbor.Reader{Buf: data}
	if !literal(&r, "\xa2\x61e") {
		return badNode(errors.New("not a map of e and l"))
	}
	count, err := r.Array()
	if err != nil {
		return badNode(err)
	}
	if count > maxEntries {
		return drop(33, "mst_node_size", fmt.Errorf("%d entries, want at most %d", count, maxEntries))
	}
	n.entries = t.newEntries(count, count)
	var prev []byte
	for i := range n.entries {
		if err := t.decodeEntry(&r, &n.entries[i], prev); err != nil {
			return err
		}
		prev = n.entries[i].key
	}
	if !literal(&r, "\x61l") {
		return badNode(errors.New("not a map of e and l"))
	}
	if n.left, err = readSubtree(&r); err != nil {
		return err
	}
	if r.Rest() != 0 {
		return badNode(dagcbor.ErrTrailing)
	}
	return nil
}

func (t *tree) decodeEntry(r *dagcbor.Reader, e *entry, prev []byte) error {
	if !literal(r, "\xa4\x61k") {
		return badNode(errors.New("an entry is not a map of k, p, t, v"))
	}
	suffix, err := r.Bytes()
	if err != nil {
		return badNode(err)
	}
	if !literal(r, "\x61p") {
		return badNode(errors.New("an entry without p"))
	}
	prefix, err := r.Uint()
	if err != nil {
		return badNode(err)
	}
	if prefix > uint64(len(prev)) {
		return drop(33, "mst_prefix", fmt.Errorf("prefix of %d bytes, previous key has %d", prefix, len(prev)))
	}
	if n := int(prefix) + len(suffix); n == 0 || n > maxKey {
		return drop(33, "mst_key", fmt.Errorf("key of %d bytes", n))
	}
	e.key = suffix
	if prefix > 0 {
		e.key = t.newKey(int(prefix) + len(suffix))
		copy(e.key, prev[:prefix])
		copy(e.key[prefix:], suffix)
	}
	if !literal(r, "\x61t") {
		return badNode(errors.New("an entry without t"))
	}
	if e.right, err = readSubtree(r); err != nil {
		return err
	}
	if !literal(r, "\x61v") {
		return badNode(errors.New("an entry without v"))
	}
	if e.value, err = r.CID(); err != nil {
		return badNode(err)
	}
	if !blockCID(e.value) && !anyCID(e.value) {
		return drop(33, "mst_link", fmt.Errorf("value of %q is not a CID", e.key))
	}
	return nil
}

func readSubtree(r *dagcbor.Reader) (link, error) {
	if r.Null() {
		return link{}, nil
	}
	cid, err := r.CID()
	if err != nil {
		return link{}, badNode(err)
	}
	if !nodeCID(cid) {
		return link{}, drop(33, "mst_link", errors.New("subtree is not a CIDv1 of codec dag-cbor and SHA-256"))
	}
	return link{cid: cid}, nil
}

// literal consumes s when it is next and says whether it did.
func literal(r *dagcbor.Reader, s string) bool {
	if r.Rest() < len(s) || string(r.Buf[r.Off:r.Off+len(s)]) != s {
		return false
	}
	r.Off += len(s)
	return true
}

func badNode(err error) error { return drop(33, "mst_node", err) }
