package netsim

import (
	"fmt"
	"slices"

	"github.com/bluesky-social/indigo/atproto/repo/mst"
	"github.com/cistern-archive/cistern/segmentlog/dagcbor"
)

// treeLies are about the nodes of the tree (rows 33 and 34). Each is a small tree of
// its own: a root of height 1 with a leaf on either side of its key. The op is in the
// right leaf, or is the root's key; the fault is in the left leaf, which the op does
// not touch. prevData is what undoing the op really gives.
var treeLies = []Lie{
	{Name: "tree-order", Row: 33, About: "two keys of a node are in the wrong order",
		tell: withLeaf(func(l *leafLie) block { return encodeNode(nil, l.entries[1], l.entries[0]) })},
	{Name: "tree-key-twice", Row: 33, About: "a key twice in a node",
		tell: withLeaf(func(l *leafLie) block { return encodeNode(nil, l.entries[0], l.entries[0]) })},
	{Name: "tree-prefix-too-long", Row: 33, About: "an entry shares more bytes than the key before it has",
		tell: withLeaf(func(l *leafLie) block {
			l.entries[1].prefix = 200
			return encodeNode(nil, l.entries[0], l.entries[1])
		})},
	{Name: "tree-wrong-depth", Row: 33, About: "a key of height 1 in a leaf",
		tell: withLeaf(func(l *leafLie) block { return encodeNode(nil, l.entries[0], l.tall) })},
	{Name: "tree-empty-node", Row: 33, About: "a node without an entry below the root",
		tell: withLeaf(func(*leafLie) block { return encodeNode(nil) })},
	{Name: "tree-too-many-entries", Row: 33, About: "a node of 1,001 entries", Solo: true,
		tell: withLeaf(func(l *leafLie) block { return encodeNode(nil, l.many...) })},
	{Name: "tree-shared-child", Row: 33, About: "a node that two pointers lead to", tell: sharedChild},
	{Name: "tree-exponential", Row: 33, About: "18 levels whose nodes point twice to the next: 2^18 ways through a small CAR",
		Solo: true, tell: exponentialTree},
	{Name: "proof-node-absent", Row: 34, About: "the neighbour that undoing the op needs is not in the CAR", tell: proofNodeAbsent},
}

// nodeEntry is one entry of a tree node (the repository page).
type nodeEntry struct {
	key    string
	val    []byte
	right  []byte // CID of the subtree after it, nil for none
	prefix int    // stated instead of the true one, unless it is -1
}

// encodeNode encodes a tree node as it is told, good or bad.
func encodeNode(left []byte, entries ...nodeEntry) block {
	out := dagcbor.AppendHead(nil, dagcbor.MajorMap, 2)
	out = dagcbor.AppendText(out, "e")
	out = dagcbor.AppendHead(out, dagcbor.MajorArray, uint64(len(entries)))
	before := ""
	for _, e := range entries {
		shared := mst.CountPrefixLen([]byte(before), []byte(e.key))
		stated := shared
		if e.prefix >= 0 {
			stated = e.prefix
		}
		out = append(out, encodeFields([]field{
			{"k", byteString([]byte(e.key[shared:]))}, {"p", uintValue(uint64(stated))},
			{"t", linkOrNull(e.right)}, {"v", link(e.val)},
		})...)
		before = e.key
	}
	out = dagcbor.AppendText(out, "l")
	return newBlock(append(out, linkOrNull(left)...))
}

// keysOfHeight makes n post paths in order whose keys stand at a height of the tree,
// above the path after.
func (l *liar) keysOfHeight(height, n int, after string) []string {
	var out []string
	at := l.h.net.clock.next() - 30*24*3600*1_000_000
	for ; len(out) < n; at += 1000 {
		path := collPost + "/" + tid(at, 7)
		if path > after && mst.HeightForKey([]byte(path)) == height {
			out = append(out, path)
		}
	}
	return out
}

func (l *liar) entry(key string) nodeEntry {
	return nodeEntry{key: key, val: randomCID(l.a.rng), prefix: -1}
}

// leafLie is what the bad left leaf may be made of.
type leafLie struct {
	entries []nodeEntry // two, of height 0
	many    []nodeEntry // 1,001 of height 0
	tall    nodeEntry   // above the two, of height 1
}

// withLeaf tells a tree whose left leaf is bad.
func withLeaf(build func(*leafLie) block) func(*liar) error {
	return func(l *liar) error {
		low := l.keysOfHeight(0, 1001, "")
		tall := l.keysOfHeight(1, 2, low[1000])
		right := l.keysOfHeight(0, 2, tall[1])
		parts := &leafLie{tall: l.entry(tall[0])}
		for _, k := range low {
			parts.many = append(parts.many, l.entry(k))
		}
		parts.entries = slices.Clone(parts.many[:2])
		good := encodeNode(nil, parts.entries...)
		root := l.entry(tall[1])
		o := l.a.write("create", right[1], l.h.net.clock.next())
		old := l.entry(right[0])
		oldLeaf := encodeNode(nil, old)
		newLeaf := encodeNode(nil, old, nodeEntry{key: o.path, val: o.cid, prefix: -1})
		if err := l.twin(l.treeDraft(o, root, good, oldLeaf, newLeaf)); err != nil {
			return err
		}
		return l.sealDraft(l.treeDraft(o, root, build(parts), oldLeaf, newLeaf))
	}
}

// treeDraft drafts a commit whose op changed the right leaf of a tree of two leaves.
func (l *liar) treeDraft(o op, root nodeEntry, left, oldRight, newRight block) *draft {
	root.right = oldRight.cid
	before := encodeNode(left.cid, root)
	root.right = newRight.cid
	after := encodeNode(left.cid, root)
	return l.ownTree(o, before, []block{after, left, newRight})
}

// ownTree drafts a commit of one op over a tree made by hand, its root first.
func (l *liar) ownTree(o op, before block, nodes []block) *draft {
	at := l.h.net.clock.next()
	return &draft{
		did: l.a.DID, rev: l.a.nextRev(at), since: l.a.repo.rev, prevData: before.cid, data: nodes[0].cid, key: l.a.key,
		time: formatTime(at), ops: []op{o}, nodes: nodes, records: []block{{cid: o.cid, data: o.record}},
	}
}

// sharedChild has the same leaf on both sides of the root's key.
func sharedChild(l *liar) error {
	keys := l.keysOfHeight(0, 1, "")
	tall := l.keysOfHeight(1, 1, keys[0])
	o := l.a.write("create", tall[0], l.h.net.clock.next())
	leaf := encodeNode(nil, l.entry(keys[0]))
	root := encodeNode(leaf.cid, nodeEntry{key: o.path, val: o.cid, right: leaf.cid, prefix: -1})
	return l.sealDraft(l.ownTree(o, leaf, []block{root, leaf}))
}

// exponentialLevels is how deep the tree of exponentialTree is; the reference
// implementation takes more than a second for it.
const exponentialLevels = 18

func exponentialTree(l *liar) error {
	o := l.a.create(collPost, l.h.net.clock.next())
	node := encodeNode(nil, nodeEntry{key: o.path, val: o.cid, prefix: -1})
	before := node
	nodes := []block{node}
	for range exponentialLevels {
		e := l.entry(o.path)
		e.right = node.cid
		node = encodeNode(node.cid, e)
		nodes = append(nodes, node)
	}
	slices.Reverse(nodes)
	return l.sealDraft(l.ownTree(o, before, nodes))
}

// proofNodeAbsent creates the root's key, which splits a leaf in two. To undo that the
// two must be merged, and one of them is missing.
func proofNodeAbsent(l *liar) error {
	low := l.keysOfHeight(0, 1, "")
	tall := l.keysOfHeight(1, 1, low[0])
	high := l.keysOfHeight(0, 1, tall[0])
	o := l.a.write("create", tall[0], l.h.net.clock.next())
	a, b := l.entry(low[0]), l.entry(high[0])
	left, right := encodeNode(nil, a), encodeNode(nil, b)
	root := encodeNode(left.cid, nodeEntry{key: o.path, val: o.cid, right: right.cid, prefix: -1})
	d := l.ownTree(o, encodeNode(nil, a, b), []block{root, left, right})
	return l.tellDraft(d, func(d *draft) { d.nodes = d.nodes[:2] })
}

// twin gives a test the honest form of a lie that is not a draft bent later.
func (l *liar) twin(d *draft) error {
	if l.h.net.onTwin == nil {
		return nil
	}
	sealed, err := d.seal()
	if err != nil {
		return fmt.Errorf("honest twin: %w", err)
	}
	l.h.net.onTwin(l.lie.Name, sealed.msg)
	return nil
}
