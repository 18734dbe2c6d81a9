package verify

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sort"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/atcrypto"
	"github.com/bluesky-social/indigo/atproto/repo/mst"
	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/ipfs/go-cid"

	"github.com/cistern-archive/cistern/internal/frame"
	"github.com/cistern-archive/cistern/internal/signing"
	"github.com/cistern-archive/cistern/segmentlog/dagcbor"
)

const testDID = "did:plc:abcdefghijklmnopqrstuvwx"

// testNow is the clock of every test; revs count up from it.
var testNow = time.Date(2026, 11, 2, 12, 0, 0, 0, time.UTC)

// testRepo is an account's repo, kept by indigo's tree, which is the reference here.
type testRepo struct {
	t       testing.TB
	rng     *rand.Rand
	priv    atcrypto.PrivateKey
	key     *signing.Key
	values  map[string]cid.Cid
	records map[cid.Cid][]byte
	tree    mst.Tree
	root    []byte
	rev     string
	clock   int64
	serial  int
}

func newRepo(t testing.TB, seed uint64) *testRepo {
	t.Helper()
	priv, err := atcrypto.ParsePrivateBytesK256(bytes.Repeat([]byte{7}, 32))
	if err != nil {
		t.Fatal(err)
	}
	r := &testRepo{
		t: t, rng: rand.New(rand.NewPCG(seed, 1)), priv: priv, key: publicKey(t, priv),
		values: map[string]cid.Cid{}, records: map[cid.Cid][]byte{}, tree: mst.NewEmptyTree(), clock: testNow.UnixMicro(),
	}
	r.root = r.rootCID()
	return r
}

func publicKey(t testing.TB, priv atcrypto.PrivateKey) *signing.Key {
	t.Helper()
	pub, err := priv.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	key, err := signing.FromPublic(pub)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func (r *testRepo) rootCID() []byte {
	c, err := r.tree.RootCID()
	if err != nil {
		r.t.Fatal(err)
	}
	return c.Bytes()
}

func (r *testRepo) keys() []string { return slices.Sorted(maps.Keys(r.values)) }

// testKeys are record paths by the layer of the MST that they belong to, so that
// small trees can be tall.
var testKeys = func() (byHeight [5][]string) {
	rng := rand.New(rand.NewPCG(1, 2))
	for full := 0; full < len(byHeight); {
		path := fmt.Sprintf("app.bsky.feed.%s/%s", []string{"like", "post"}[rng.IntN(2)], syntax.NewTIDFromInteger(rng.Uint64()))
		h := mst.HeightForKey([]byte(path))
		if h < len(byHeight) && len(byHeight[h]) < 64 {
			if byHeight[h] = append(byHeight[h], path); len(byHeight[h]) == 64 {
				full++
			}
		}
	}
	return byHeight
}()

// pick returns some key; tall favours high layers.
func (r *testRepo) pick(tall bool) string {
	h := 0
	if tall {
		h = r.rng.IntN(len(testKeys))
	} else {
		for h+1 < len(testKeys) && r.rng.IntN(4) == 0 {
			h++
		}
	}
	return testKeys[h][r.rng.IntN(64)]
}

// post returns a new record and its CID, which the repo can then find.
func (r *testRepo) post() cid.Cid {
	r.serial++
	b := dagcbor.AppendHead(nil, dagcbor.MajorMap, 2)
	b = dagcbor.AppendText(b, "text")
	b = dagcbor.AppendText(b, fmt.Sprintf("record %d", r.serial))
	b = dagcbor.AppendText(b, "$type")
	b = dagcbor.AppendText(b, "app.bsky.feed.post")
	return r.addRecord(b)
}

func (r *testRepo) addRecord(b []byte) cid.Cid {
	c := toCID(r.t, sum(b))
	r.records[c] = b
	return c
}

func sum(b []byte) []byte {
	h := sha256.Sum256(b)
	return append([]byte{1, 0x71, 0x12, 0x20}, h[:]...)
}

func toCID(t testing.TB, b []byte) cid.Cid {
	c, err := cid.Cast(b)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (r *testRepo) nextRev() string {
	r.clock += int64(1 + r.rng.IntN(1000))
	return syntax.NewTID(r.clock, 3).String()
}

// change is one write: a nil value deletes.
type change struct {
	path  string
	value *cid.Cid
}

func (r *testRepo) put(path string) change { c := r.post(); return change{path, &c} }

// draft is a #commit before it is signed: a test may alter any part of it.
type draft struct {
	repo    *testRepo
	ev      *frame.Event
	fields  map[string][]byte // encoded fields of the commit object, without sig
	nodes   []tblock          // the MST nodes that the CAR takes
	records []tblock
	roots   [][]byte // of the CAR; the commit when nil
	sig     func(unsigned []byte) []byte
	blocks  func(commit tblock) []tblock // order and choice of blocks; commit, nodes, records when nil
}

type tblock struct{ cid, data []byte }

func newBlock(data []byte) tblock { return tblock{sum(data), data} }

// apply makes the changes on the repo and returns the #commit of it. With full the
// CAR takes the whole tree, else what indigo's proof takes.
func (r *testRepo) apply(full bool, changes ...change) *draft {
	r.t.Helper()
	d := &draft{repo: r, ev: &frame.Event{Kind: frame.Commit, DID: testDID, Since: r.rev, PrevData: r.root}}
	if r.rev == "" {
		d.ev.PrevData = nil
	}
	for _, c := range changes {
		op := frame.Op{Path: c.path}
		old, had := r.values[c.path]
		if had {
			op.Prev = old.Bytes()
		}
		var err error
		if c.value == nil {
			op.Action = "delete"
			_, err = r.tree.Remove([]byte(c.path))
			delete(r.values, c.path)
		} else {
			op.Action, op.CID = "create", c.value.Bytes()
			if had {
				op.Action = "update"
			}
			_, err = r.tree.Insert([]byte(c.path), *c.value)
			r.values[c.path] = *c.value
			d.records = append(d.records, tblock{c.value.Bytes(), r.records[*c.value]})
		}
		if err != nil {
			r.t.Fatal(err)
		}
		d.ev.Ops = append(d.ev.Ops, op)
	}
	d.nodes = r.flush(full)
	r.rev = r.nextRev()
	d.ev.Rev = r.rev
	d.setData(r.root)
	return d
}

// flush computes the new root and returns the nodes for a CAR.
func (r *testRepo) flush(full bool) []tblock {
	// indigo's Remove does not always trim the top.
	for n := r.tree.Root; len(n.Entries) == 1 && n.Entries[0].IsChild(); n = r.tree.Root {
		r.tree.Root = n.Entries[0].Child
	}
	var chosen []*mst.Node
	var visit func(n *mst.Node)
	visit = func(n *mst.Node) {
		if full || n.Dirty {
			chosen = append(chosen, n)
		}
		for _, e := range n.Entries {
			if e.Child != nil {
				visit(e.Child)
			}
		}
	}
	visit(r.tree.Root)
	r.root = r.rootCID()
	var out []tblock
	for _, n := range chosen {
		out = append(out, encodeNode(r.t, n.NodeData()))
	}
	if len(r.values) == 0 && len(out) == 0 {
		out = append(out, encodeNode(r.t, mst.NodeData{}))
	}
	return out
}

func encodeNode(t testing.TB, nd mst.NodeData) tblock {
	b, c, err := nd.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return tblock{c.Bytes(), b}
}

// setData builds the commit object's fields around a root.
func (d *draft) setData(root []byte) {
	d.fields = map[string][]byte{
		"did":     dagcbor.AppendText(nil, d.ev.DID),
		"rev":     dagcbor.AppendText(nil, d.ev.Rev),
		"data":    dagcbor.AppendCID(nil, root),
		"prev":    dagcbor.AppendNull(nil),
		"version": dagcbor.AppendUint(nil, 3),
	}
}

func encodeMap(fields map[string][]byte) []byte {
	keys := slices.Collect(maps.Keys(fields))
	sort.Slice(keys, func(i, j int) bool { return dagcbor.CompareKeys([]byte(keys[i]), []byte(keys[j])) < 0 })
	b := dagcbor.AppendHead(nil, dagcbor.MajorMap, uint64(len(keys)))
	for _, k := range keys {
		b = append(dagcbor.AppendText(b, k), fields[k]...)
	}
	return b
}

func encodeCAR(roots [][]byte, blocks []tblock) []byte {
	h := dagcbor.AppendHead(nil, dagcbor.MajorMap, 2)
	h = dagcbor.AppendHead(dagcbor.AppendText(h, "roots"), dagcbor.MajorArray, uint64(len(roots)))
	for _, root := range roots {
		h = dagcbor.AppendCID(h, root)
	}
	h = dagcbor.AppendUint(dagcbor.AppendText(h, "version"), 1)
	out := append(binary.AppendUvarint(nil, uint64(len(h))), h...)
	for _, b := range blocks {
		out = binary.AppendUvarint(out, uint64(len(b.cid)+len(b.data)))
		out = append(append(out, b.cid...), b.data...)
	}
	return out
}

// commitBlock signs the commit object.
func (d *draft) commitBlock() tblock {
	unsigned := encodeMap(d.fields)
	sign := d.sig
	if sign == nil {
		sign = func(b []byte) []byte {
			s, err := d.repo.priv.HashAndSign(b)
			if err != nil {
				d.repo.t.Fatal(err)
			}
			return s
		}
	}
	signed := maps.Clone(d.fields)
	signed["sig"] = dagcbor.AppendBytes(nil, sign(unsigned))
	return newBlock(encodeMap(signed))
}

// event signs the draft and puts its CAR together.
func (d *draft) event() *frame.Event {
	commit := d.commitBlock()
	blocks := slices.Concat([]tblock{commit}, d.nodes, d.records)
	if d.blocks != nil {
		blocks = d.blocks(commit)
	}
	roots := d.roots
	if roots == nil {
		roots = [][]byte{commit.cid}
	}
	ev := *d.ev
	ev.Commit = commit.cid
	ev.Blocks = encodeCAR(roots, blocks)
	return &ev
}

// sync returns the #sync of the draft's commit.
func (d *draft) sync() *frame.Event {
	commit := d.commitBlock()
	return &frame.Event{Kind: frame.Sync, DID: testDID, Rev: d.ev.Rev, Blocks: encodeCAR([][]byte{commit.cid}, []tblock{commit})}
}
