package netsim

import "fmt"

// opLies are about the operations and their proof (rows 30 to 32 and 34 to 36).
var opLies = []Lie{
	{Name: "op-unknown-action", Row: 30, About: "the action is upsert", tell: bentOp(func(o *op) { o.action = "upsert" })},
	{Name: "op-path-without-slash", Row: 30, About: "a path without a record key, in the tree too", tell: atPath("app.bsky.feed.post")},
	{Name: "op-path-bad-collection", Row: 30, About: "a path whose collection is no NSID, in the tree too", tell: atPath("not an nsid/3k2aaaaaaaa2a")},
	{Name: "op-path-bad-key", Row: 30, About: "a path with a bad record key, in the tree too", tell: atPath("app.bsky.feed.post/..")},
	{Name: "op-path-three-parts", Row: 30, About: "a path of three parts, in the tree too", tell: atPath("app.bsky.feed.post/3k2aaaaaaaa2a/x")},
	{Name: "op-path-twice", Row: 30, About: "two ops for one path", tell: bent(func(d *draft) { d.ops = append(d.ops, d.ops[0]) })},
	{Name: "op-create-with-prev", Row: 30, About: "a create with prev", tell: bentOp(func(o *op) { o.prev = cidOf([]byte("before")) })},
	{Name: "op-create-without-cid", Row: 30, About: "a create whose cid is null", tell: bentOp(func(o *op) { o.cid = nil })},
	{Name: "op-update-without-cid", Row: 30, About: "an update whose cid is null",
		tell: bentOps(onlyUpdate, func(d *draft) { d.ops[0].cid = nil })},
	{Name: "op-delete-with-cid", Row: 30, About: "a delete with a cid",
		tell: bentOps(onlyDelete, func(d *draft) { d.ops[0].cid = d.ops[0].prev })},
	{Name: "op-update-without-prev", Row: 30, About: "an update without prev",
		tell: bentOps(onlyUpdate, func(d *draft) { d.ops[0].prev = nil })},
	{Name: "op-delete-without-prev", Row: 30, About: "a delete without prev",
		tell: bentOps(onlyDelete, func(d *draft) { d.ops[0].prev = nil })},
	{Name: "op-cid-differs", Row: 31, About: "the op's cid is not what the tree has", tell: bentOp(func(o *op) {
		o.cid = cidOf([]byte("another record"))
	})},
	{Name: "op-deleted-present", Row: 31, About: "a delete of a path that is still in the tree", tell: deletedPresent},
	{Name: "op-created-absent", Row: 31, About: "a create of a path that is not in the tree", tell: createdAbsent},
	{Name: "record-absent", Row: 31, About: "the block of a created record is not in the CAR", tell: bent(func(d *draft) { d.records = nil })},
	{Name: "record-not-cbor", Row: 32, About: "a record that is not well-formed CBOR",
		tell: withOps(func(l *liar) []op {
			return []op{withRecord(l.a.create(collPost, l.h.net.clock.next()), []byte("\xa2\x64text\x78\xffcut short"))}
		})},
	{Name: "prevdata-forged", Row: 34, About: "prevData is not the root before", tell: bent(func(d *draft) {
		d.prevData = cidOf([]byte("another tree"))
	})},
	{Name: "op-prev-forged", Row: 34, About: "the prev of an update is not what the tree had",
		tell: bentOps(onlyUpdate, func(d *draft) { d.ops[0].prev = cidOf([]byte("another record")) })},
	{Name: "op-withheld", Row: 34, About: "one of three creates is not among the ops",
		tell: bentOps(func(l *liar) []op { return l.creates(3) }, func(d *draft) { d.ops = d.ops[:2] })},
	{Name: "ops-emptied", Row: 35, About: "no ops although the tree changed", tell: bent(func(d *draft) { d.ops, d.records = nil, nil })},
	{Name: "prevdata-absent", Row: 36, About: "no prevData although there is a since", tell: bent(func(d *draft) { d.prevData = nil })},
	{Name: "prevdata-and-since-absent", Row: 36, About: "neither prevData nor since, for an account that was seen before",
		tell: func(l *liar) error {
			if err := l.known(); err != nil {
				return err
			}
			return bent(func(d *draft) { d.prevData, d.since = nil, "" })(l)
		}},
}

// bentOp is an honest commit of one create whose op is bent in the message only.
func bentOp(edit func(*op)) func(*liar) error {
	return bent(func(d *draft) {
		o := d.ops[0]
		edit(&o)
		d.ops = []op{o}
	})
}

// atPath creates a record at a bad path, really in the tree.
func atPath(path string) func(*liar) error {
	return withOps(func(l *liar) []op {
		o := l.a.create(collPost, l.h.net.clock.next())
		o.path = path
		return []op{o}
	})
}

func onlyUpdate(l *liar) []op {
	path := l.a.repo.paths[l.a.rng.IntN(len(l.a.repo.paths))]
	return []op{l.a.write("update", path, l.h.net.clock.next())}
}

func onlyDelete(l *liar) []op {
	return []op{{action: "delete", path: l.a.repo.paths[l.a.rng.IntN(len(l.a.repo.paths))]}}
}

// deletedPresent claims to delete a record that stays. It is
// in fact updated, so that the nodes on the way to it are in the CAR.
func deletedPresent(l *liar) error {
	path := l.a.repo.paths[l.a.rng.IntN(len(l.a.repo.paths))]
	was, err := l.a.repo.get(path)
	if err != nil || was == nil {
		return fmt.Errorf("record %s: %w", path, err)
	}
	d, err := l.draft(l.a.write("update", path, l.h.net.clock.next()))
	if err != nil {
		return err
	}
	return l.tellDraft(d, func(d *draft) {
		d.ops = []op{{action: "delete", path: path, prev: was}}
		d.records = nil
	})
}

// createdAbsent lists one create more than was made.
func createdAbsent(l *liar) error {
	ghost := l.a.create(collPost, l.h.net.clock.next())
	d, err := l.honest()
	if err != nil {
		return err
	}
	return l.tellDraft(d, func(d *draft) {
		d.ops = append(d.ops, ghost)
		d.records = append(d.records, block{cid: ghost.cid, data: ghost.record})
	})
}
