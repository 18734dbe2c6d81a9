package verify

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"

	"github.com/bluesky-social/indigo/atproto/repo/mst"
	"github.com/ipfs/go-cid"

	"github.com/cistern-archive/cistern/internal/frame"
	"github.com/cistern-archive/cistern/segmentlog/dagcbor"
)

// leaf makes an entry of the whole key.
func (d *draft) leaf(key string) mst.EntryData {
	return mst.EntryData{KeySuffix: []byte(key), Value: toCID(d.repo.t, sum([]byte("value")))}
}

// plant makes the tree of the draft consist of the given nodes, the last one the root,
// with an op that is a lie if anything looks at it.
func (d *draft) plant(nodes ...tblock) {
	d.nodes = nodes
	root := nodes[len(nodes)-1].cid
	d.setData(root)
}

func (d *draft) node(left *cid.Cid, entries ...mst.EntryData) tblock {
	return encodeNode(d.repo.t, mst.NodeData{Left: left, Entries: entries})
}

func (b tblock) link(t testing.TB) *cid.Cid {
	c := toCID(t, b.cid)
	return &c
}

// sorted returns n keys of a layer in order, the i-th set of them.
func sortedKeys(height int, n int) []string {
	keys := append([]string(nil), testKeys[height][:n]...)
	for i := range keys {
		for j := i; j > 0 && keys[j] < keys[j-1]; j-- {
			keys[j], keys[j-1] = keys[j-1], keys[j]
		}
	}
	return keys
}

// T33: the structure of the tree. Every node is signed for; only its structure is bad.
func TestTreeStructureRules(t *testing.T) {
	k0, k1 := sortedKeys(0, 8), sortedKeys(1, 8)
	node := func(build func(d *draft) []tblock) func(*testing.T, *draft) {
		return func(_ *testing.T, d *draft) { d.plant(build(d)...) }
	}
	raw := func(b string) func(*testing.T, *draft) {
		return node(func(*draft) []tblock { return []tblock{newBlock([]byte(b))} })
	}
	rules := []rule{
		{name: "T33 keys descend", alter: node(func(d *draft) []tblock {
			return []tblock{d.node(nil, d.leaf(k0[1]), d.leaf(k0[0]))}
		}), row: 33, reason: "mst_order"},
		{name: "T33 a key twice", alter: node(func(d *draft) []tblock {
			return []tblock{d.node(nil, d.leaf(k0[1]), d.leaf(k0[1]))}
		}), row: 33, reason: "mst_order"},
		{name: "T33 a left child that is above", alter: node(func(d *draft) []tblock {
			child := d.node(nil, d.leaf(above(k0, k1[2])))
			return []tblock{child, d.node(child.link(t), d.leaf(k1[2]))}
		}), row: 33, reason: "mst_order"},
		{name: "T33 a right child that is below", alter: node(func(d *draft) []tblock {
			child, e := d.node(nil, d.leaf(below(k0, k1[4]))), d.leaf(k1[4])
			e.Right = child.link(t)
			return []tblock{child, d.node(nil, e)}
		}), row: 33, reason: "mst_order"},
		{name: "T33 a right child that is above the next key", alter: node(func(d *draft) []tblock {
			child, e := d.node(nil, d.leaf(above(k0, k1[3]))), d.leaf(k1[2])
			e.Right = child.link(t)
			return []tblock{child, d.node(nil, e, d.leaf(k1[3]))}
		}), row: 33, reason: "mst_order"},
		{name: "T33 prefix longer than the previous key", alter: node(func(d *draft) []tblock {
			e := d.leaf(k0[1])
			e.PrefixLen = int64(len(k0[0]) + 1)
			return []tblock{d.node(nil, d.leaf(k0[0]), e)}
		}), row: 33, reason: "mst_prefix"},
		{name: "T33 prefix of the first key", alter: node(func(d *draft) []tblock {
			e := d.leaf(k0[1])
			e.PrefixLen = 1
			return []tblock{d.node(nil, e)}
		}), row: 33, reason: "mst_prefix"},
		{name: "T33 keys of two layers in one node", alter: node(func(d *draft) []tblock {
			return []tblock{d.node(nil, d.leaf(below(k0, k1[5])), d.leaf(k1[5]))}
		}), row: 33, reason: "mst_depth"},
		{name: "T33 a child two layers down", alter: node(func(d *draft) []tblock {
			child := d.node(nil, d.leaf(below(k0, above(sortedKeys(2, 8), k0[0]))))
			return []tblock{child, d.node(child.link(t), d.leaf(above(sortedKeys(2, 8), k0[0])))}
		}), row: 33, reason: "mst_depth"},
		{name: "T33 a child below layer 0", alter: node(func(d *draft) []tblock {
			child := d.node(nil, d.leaf(k0[0]))
			return []tblock{child, d.node(child.link(t), d.leaf(k0[1]))}
		}), row: 33, reason: "mst_depth"},
		{name: "T33 an empty node", alter: node(func(d *draft) []tblock {
			child := d.node(nil)
			return []tblock{child, d.node(child.link(t), d.leaf(k1[0]))}
		}), row: 33, reason: "mst_empty_node"},
		{name: "T33 a root that only points to a child", alter: node(func(d *draft) []tblock {
			child := d.node(nil, d.leaf(k0[0]))
			return []tblock{child, d.node(child.link(t))}
		}), row: 33, reason: "mst_empty_node"},
		{name: "T33 more than 1,000 entries", alter: node(func(d *draft) []tblock { return []tblock{manyEntries(d, 1001)} }), row: 33, reason: "mst_node_size"},
		{name: "T33 1,000 entries are not too many", alter: node(func(d *draft) []tblock { return []tblock{manyEntries(d, 1000)} }), row: 33, reason: "mst_depth"},
		{name: "T33 a block reached twice", alter: node(func(d *draft) []tblock {
			child, e := d.node(nil, d.leaf(below(k0, k1[4]))), d.leaf(k1[4])
			e.Right = child.link(t)
			return []tblock{child, d.node(child.link(t), e)}
		}), row: 33, reason: "mst_block_twice"},
		{name: "T33 an empty key", alter: node(func(d *draft) []tblock { return []tblock{d.node(nil, d.leaf(""))} }), row: 33, reason: "mst_key"},
		{name: "T33 a key of 1,025 bytes", alter: node(func(d *draft) []tblock {
			return []tblock{d.node(nil, d.leaf(string(make([]byte, 1025))))}
		}), row: 33, reason: "mst_key"},
		{name: "T33 a link to a record", alter: node(func(d *draft) []tblock {
			child := newBlock(inlineRecord("x"))
			return []tblock{child, d.node(child.link(t), d.leaf(k1[0]))}
		}), row: 33, reason: "mst_node"},
		{name: "T33 a subtree of codec raw", alter: node(func(d *draft) []tblock {
			c := toCID(t, rawCodec(sum(nil)))
			return []tblock{d.node(&c, d.leaf(k1[0]))}
		}), row: 33, reason: "mst_link"},
		{name: "T33 a value that is no CID", alter: raw("\xa2\x61e\x81\xa4\x61k\x41a\x61p\x00\x61t\xf6\x61v\xd8\x2a\x43\x00\x01\x02\x61l\xf6"), row: 33, reason: "mst_link"},
		{name: "T33 l missing", alter: raw("\xa1\x61e\x80"), row: 33, reason: "mst_node"},
		{name: "T33 t missing", alter: raw("\xa2\x61e\x81\xa3\x61k\x41a\x61p\x00\x61v\xf6\x61l\xf6"), row: 33, reason: "mst_node"},
		{name: "T33 p missing", alter: raw("\xa2\x61e\x81\xa4\x61k\x41a\x61q\x00\x61t\xf6\x61v\xf6\x61l\xf6"), row: 33, reason: "mst_node"},
		{name: "T33 p negative", alter: raw("\xa2\x61e\x81\xa4\x61k\x41a\x61p\x20\x61t\xf6\x61v\xf6\x61l\xf6"), row: 33, reason: "mst_node"},
		{name: "T33 v null", alter: raw("\xa2\x61e\x81\xa4\x61k\x41a\x61p\x00\x61t\xf6\x61v\xf6\x61l\xf6"), row: 33, reason: "mst_node"},
		{name: "T33 k is text", alter: raw("\xa2\x61e\x81\xa4\x61k\x61a\x61p\x00\x61t\xf6\x61v\xf6\x61l\xf6"), row: 33, reason: "mst_node"},
		{name: "T33 e is not an array", alter: raw("\xa2\x61e\xa0\x61l\xf6"), row: 33, reason: "mst_node"},
		{name: "T33 more entries than bytes", alter: raw("\xa2\x61e\x99\x03\xe8\x61l\xf6"), row: 33, reason: "mst_node"},
		{name: "T33 bytes behind", alter: raw("\xa2\x61e\x80\x61l\xf6\x00"), row: 33, reason: "mst_node"},
	}
	checkRules(t, rules)
}

// above and below return a key beyond another.
func above(keys []string, than string) string {
	for _, k := range keys {
		if k > than {
			return k
		}
	}
	panic("no key above " + than)
}

func below(keys []string, than string) string {
	for _, k := range keys {
		if k < than {
			return k
		}
	}
	panic("no key below " + than)
}

func manyEntries(d *draft, n int) tblock {
	var entries []mst.EntryData
	for i := range n {
		entries = append(entries, d.leaf(string(binary.BigEndian.AppendUint32([]byte("a"), uint32(i)))))
	}
	return d.node(nil, entries...)
}

// A tree whose every node links the one below from all its places would be loaded
// 2^18 times by following links naively. It is rejected at the second way to a node.
func TestSharedChildrenAreLoadedOnce(t *testing.T) {
	r, state := known(t)
	d := r.next()
	const levels = 18
	child := d.node(nil, d.leaf(testKeys[0][0]))
	nodes := []tblock{child}
	for range levels {
		e := d.leaf(testKeys[0][1])
		e.Right = child.link(t)
		child = d.node(child.link(t), e)
		nodes = append(nodes, child)
	}
	d.plant(nodes...)
	v := testVerifier()
	_, err := v.Commit(d.event(), r.key, state)
	var rej *Rejection
	if !errors.As(err, &rej) || rej.Row != 33 {
		t.Fatalf("got %v", err)
	}
	if v.tree.loads > len(nodes) {
		t.Errorf("%d loads of %d nodes", v.tree.loads, len(nodes))
	}
	// The same with nodes that could stand there by their layers: pass-through nodes,
	// which have no key, all linking one block from the left and from the right.
	k := sortedKeys(2, 8)
	leaf := d.node(nil, d.leaf(below(sortedKeys(0, 64), k[3])))
	middle := d.node(leaf.link(t))
	e := d.leaf(k[3])
	e.Right = middle.link(t)
	d.plant(leaf, middle, d.node(middle.link(t), e))
	_, err = v.Commit(d.event(), r.key, state)
	wantRejected(t, err, 33, Drop, "mst_block_twice")
	if v.tree.loads != 3 {
		t.Errorf("%d loads of 3 nodes", v.tree.loads)
	}
}

// T34: the inversion.
func TestInversionRules(t *testing.T) {
	other := sum([]byte("other"))
	checkRules(t, []rule{
		{name: "T34 another prevData", after: func(ev *frame.Event) { ev.PrevData = other }, row: 34, reason: "prev_data_mismatch", lenient: true},
		{name: "T34 an op left out", after: func(ev *frame.Event) { ev.Ops = ev.Ops[:1] }, row: 34, reason: "prev_data_mismatch", lenient: true},
		{name: "T34 another prev", after: opRule(func(_, d *frame.Op) { d.Prev = other }), row: 34, reason: "prev_data_mismatch", lenient: true},
		{name: "T34 a delete of what was not there", after: func(ev *frame.Event) {
			ev.Ops = append(ev.Ops, frame.Op{Action: "delete", Path: testKeys[0][53], Prev: other})
		}, row: 34, reason: "prev_data_mismatch", lenient: true},
		{name: "T34 a prev that is not a CID gives another root", after: opRule(func(_, d *frame.Op) { d.Prev = []byte{9} }), row: 34, reason: "prev_data_mismatch", lenient: true},
		{name: "T34 no nodes", alter: func(_ *testing.T, d *draft) { d.nodes = nil }, row: 34, reason: "node_absent", lenient: true},
	})
}

// T34: leaving a node out of a CAR either does not matter, or is reported as that.
func TestAbsentNodesAreNoticed(t *testing.T) {
	needed := 0
	for seed := range uint64(60) {
		r := newRepo(t, 900+seed)
		for range 6 {
			r.apply(false, r.randomChanges(12, true)...)
		}
		before := State{Rev: r.rev, Data: bytes.Clone(r.root)}
		d := r.apply(false, r.randomChanges(4, true)...)
		all := d.nodes
		for i := range all {
			d.nodes = append(append([]tblock(nil), all[:i]...), all[i+1:]...)
			got, err := testVerifier().Commit(d.event(), r.key, before)
			if err == nil {
				if !got.Verdict.Has(honest) {
					t.Fatalf("seed %d without node %d: %s", seed, i, got.Verdict)
				}
				continue
			}
			wantRejected(t, err, 34, Drop, "node_absent")
			needed++
		}
	}
	if needed == 0 {
		t.Error("no node was ever needed")
	}
}

// T35: commits without ops.
func TestEmptyCommitRules(t *testing.T) {
	checkRules(t, []rule{
		{name: "T35 the data differs", after: func(ev *frame.Event) { ev.Ops = nil }, row: 35, reason: "data_changed_without_ops", lenient: true},
	})
	r, state := known(t)
	d := r.apply(false)
	d.nodes = nil // MST blocks may be absent
	got, err := testVerifier().Commit(d.event(), r.key, state)
	if err != nil || got.Verdict != honest {
		t.Fatalf("%s, %v", got.Verdict, err)
	}
	// Nodes that are there are checked all the same.
	d = r.apply(false)
	d.nodes = []tblock{newBlock(dagcbor.AppendNull(nil))}
	d.setData(d.nodes[0].cid)
	d.ev.PrevData = d.nodes[0].cid
	_, err = testVerifier().Commit(d.event(), r.key, state)
	wantRejected(t, err, 33, Drop, "mst_node")
}
