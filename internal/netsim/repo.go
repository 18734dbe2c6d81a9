package netsim

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/bluesky-social/indigo/atproto/repo/mst"
	blocks "github.com/ipfs/go-block-format"
	"github.com/ipfs/go-cid"
	blockstore "github.com/ipfs/go-ipfs-blockstore"
)

// op is one repo operation, with the record that it writes.
type op struct {
	action string
	path   string
	cid    []byte // nil for a delete
	prev   []byte // nil for a create
	record []byte // the block's data; nil for a delete
}

// repo is the state of an account's repository: the tree and the record paths, not
// the records.
type repo struct {
	tree   mst.Tree
	paths  []string // in no order; for choosing what to delete or update
	rev    string
	data   []byte // binary CID of the tree's root
	commit []byte // binary CID of the newest commit; nil before the first
}

// newRepo makes an empty repository.
func newRepo() (*repo, error) {
	r := &repo{tree: mst.NewEmptyTree()}
	if _, err := r.writeNodes(); err != nil {
		return nil, err
	}
	return r, nil
}

// fill inserts n records that were written some time before an instant. Their
// contents do not exist: only their CIDs stand in the tree.
func (r *repo) fill(rng *rand.Rand, n int, before int64) error {
	const year = 365 * 24 * 3600 * 1_000_000 // µs
	at := before - year
	for range n {
		at += 1 + rng.Int64N(2*year/int64(n)-1)/2
		path := randomCollection(rng) + "/" + tid(at, uint(rng.IntN(1024)))
		if _, err := r.tree.Insert([]byte(path), asCID(randomCID(rng))); err != nil {
			return fmt.Errorf("fill repository: %w", err)
		}
		r.paths = append(r.paths, path)
	}
	_, err := r.writeNodes()
	return err
}

// fork copies the repository, so that what is done to the copy is not done to it.
func (r *repo) fork() *repo {
	c := *r
	c.tree = r.tree.Copy()
	c.paths = slices.Clone(r.paths)
	return &c
}

// get returns the CID of a record, nil when there is none.
func (r *repo) get(path string) ([]byte, error) {
	c, err := r.tree.Get([]byte(path))
	if err != nil || c == nil {
		return nil, err
	}
	return c.Bytes(), nil
}

// apply performs the operations, fills in their prev, and returns the nodes that a
// commit must carry, the root first: those that changed, and the neighbours that
// the inversion needs.
func (r *repo) apply(ops []op) ([]block, error) {
	for i := range ops {
		if err := r.applyOne(&ops[i]); err != nil {
			return nil, fmt.Errorf("apply %s %s: %w", ops[i].action, ops[i].path, err)
		}
	}
	return r.writeNodes()
}

func (r *repo) applyOne(o *op) error {
	var prev *cid.Cid
	var err error
	if o.action == "delete" {
		prev, err = r.tree.Remove([]byte(o.path))
		if i := slices.Index(r.paths, o.path); i >= 0 {
			last := len(r.paths) - 1
			r.paths[i] = r.paths[last]
			r.paths = r.paths[:last]
		}
		if r.tree.IsEmpty() { // the library keeps the height of an emptied tree
			r.tree = mst.NewEmptyTree()
		}
	} else {
		prev, err = r.tree.Insert([]byte(o.path), asCID(o.cid))
		if prev == nil {
			r.paths = append(r.paths, o.path)
		}
	}
	if err != nil {
		return err
	}
	if prev != nil {
		o.prev = prev.Bytes()
	}
	return nil
}

// writeNodes encodes what changed and sets the data root.
func (r *repo) writeNodes() ([]block, error) {
	var sink nodeSink
	root, err := r.tree.WriteDiffBlocks(context.Background(), &sink)
	if err != nil {
		return nil, fmt.Errorf("encode tree: %w", err)
	}
	r.data = root.Bytes()
	slices.Reverse(sink.nodes) // children come before their parents
	return sink.nodes, nil
}

// rootNode returns the block of the tree's root, for commits that change nothing.
func (r *repo) rootNode() (block, error) {
	data := r.tree.Root.NodeData()
	b, c, err := data.Bytes()
	if err != nil {
		return block{}, fmt.Errorf("encode root: %w", err)
	}
	return block{cid: c.Bytes(), data: b}, nil
}

// nodeSink is the one method of a block store that writing a tree calls.
type nodeSink struct {
	blockstore.Blockstore
	nodes []block
}

// Put keeps the block.
func (s *nodeSink) Put(_ context.Context, b blocks.Block) error {
	s.nodes = append(s.nodes, block{cid: b.Cid().Bytes(), data: b.RawData()})
	return nil
}
