package netsim

import (
	"fmt"

	"github.com/cistern-archive/cistern/segmentlog/dagcbor"
)

// draft is a #commit or #sync before it is signed and encoded. Left alone it is
// honest; a lie or a dialect sets the hooks, each of which sees one stage.
type draft struct {
	did      string
	rev      string
	since    string // "" for null
	data     []byte // root of the new tree
	prevData []byte // nil for absent
	ops      []op
	nodes    []block
	records  []block
	key      *signer
	time     string
	sync     bool // a #sync: only the commit block, no ops

	onCommit    func([]field) []field // the commit object's fields, before the signature
	onSignature func([]byte) []byte
	onObject    func([]byte) []byte // the encoded commit object, signature included
	onCAR       func(*carFile)
	onCARBytes  func([]byte) []byte
	onMessage   func(*message)
}

// sealed is a draft after signing: what the account's state becomes, and the message.
type sealed struct {
	commit []byte // CID
	object []byte // the commit block
	msg    *message
}

// seal signs and encodes the draft.
func (d *draft) seal() (*sealed, error) {
	object, err := d.commitObject()
	if err != nil {
		return nil, err
	}
	commit := newBlock(object)
	car := &carFile{version: 1, roots: [][]byte{commit.cid}, blocks: []block{commit}}
	if !d.sync {
		car.blocks = append(append(car.blocks, d.nodes...), d.records...)
	}
	if d.onCAR != nil {
		d.onCAR(car)
	}
	raw := car.encode()
	if d.onCARBytes != nil {
		raw = d.onCARBytes(raw)
	}
	m := d.message(commit.cid, raw)
	if d.onMessage != nil {
		d.onMessage(m)
	}
	return &sealed{commit: commit.cid, object: object, msg: m}, nil
}

// commitObject makes the signed commit object (the repository page, version 3).
func (d *draft) commitObject() ([]byte, error) {
	fields := []field{
		{"did", text(d.did)}, {"rev", text(d.rev)}, {"data", link(d.data)},
		{"prev", null()}, {"version", uintValue(3)},
	}
	if d.onCommit != nil {
		fields = d.onCommit(fields)
	}
	sig, err := d.key.sign(encodeFields(fields))
	if err != nil {
		return nil, fmt.Errorf("commit of %s: %w", d.did, err)
	}
	if d.onSignature != nil {
		sig = d.onSignature(sig)
	}
	object := encodeFields(append(fields, field{"sig", byteString(sig)}))
	if d.onObject != nil {
		object = d.onObject(object)
	}
	return object, nil
}

// message makes the frame's maps, with every field that the lexicon knows.
func (d *draft) message(commit, car []byte) *message {
	if d.sync {
		return newMessage("#sync", field{seqKey, nil}, field{"did", text(d.did)}, field{"rev", text(d.rev)},
			field{"time", text(d.time)}, field{"blocks", byteString(car)})
	}
	m := newMessage("#commit",
		field{seqKey, nil}, field{"repo", text(d.did)}, field{"rev", text(d.rev)}, field{"since", textOrNull(d.since)},
		field{"time", text(d.time)}, field{"commit", link(commit)}, field{"ops", encodeOps(d.ops)},
		field{"blobs", dagcbor.AppendHead(nil, dagcbor.MajorArray, 0)}, field{"blocks", byteString(car)},
		field{"rebase", boolean(false)}, field{"tooBig", boolean(false)})
	if d.prevData != nil {
		m.set("prevData", link(d.prevData))
	}
	return m
}

func encodeOps(ops []op) []byte {
	out := dagcbor.AppendHead(nil, dagcbor.MajorArray, uint64(len(ops)))
	for _, o := range ops {
		out = append(out, o.encode(false)...)
	}
	return out
}

// encode makes one op; a missing prev is left out, or null when the host says so.
func (o *op) encode(nullPrev bool) []byte {
	fields := []field{{"cid", linkOrNull(o.cid)}, {"path", text(o.path)}, {"action", text(o.action)}}
	if o.prev != nil || nullPrev {
		fields = append(fields, field{"prev", linkOrNull(o.prev)})
	}
	return encodeFields(fields)
}

// identityMessage makes an #identity.
func identityMessage(did, handle, time string) *message {
	m := newMessage("#identity", field{seqKey, nil}, field{"did", text(did)}, field{"time", text(time)})
	if handle != "" {
		m.set("handle", text(handle))
	}
	return m
}

// accountMessage makes an #account; status is left out when empty.
func accountMessage(did, status, time string, active bool) *message {
	m := newMessage("#account", field{seqKey, nil}, field{"did", text(did)}, field{"time", text(time)},
		field{"active", boolean(active)})
	if status != "" {
		m.set("status", text(status))
	}
	return m
}
