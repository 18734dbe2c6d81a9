package netsim

import (
	"bytes"
	"slices"
	"strings"
)

// Limits of the sync page, in bytes and ops.
const (
	maxCommitBlocks = 2_000_000
	maxSyncBlocks   = 10_000
	maxRecord       = 1_000_000
	maxOps          = 200
)

// carLies are about sizes and the CAR file (rows 18 to 23).
var carLies = []Lie{
	{Name: "blocks-empty", Row: 18, About: "blocks of no bytes", tell: bent(func(d *draft) {
		d.onCARBytes = func([]byte) []byte { return nil }
	})},
	{Name: "blocks-too-large", Row: 18, About: "more than 2,000,000 bytes of blocks, through one that nothing refers to", Solo: true,
		tell: bent(func(d *draft) { d.onCAR = padded(maxCommitBlocks) })},
	{Name: "sync-too-large", Row: 18, About: "a #sync with more than 10,000 bytes of blocks", tell: syncTooLarge},
	{Name: "too-many-ops", Row: 19, About: "201 creates", Solo: true,
		tell: withOps(func(l *liar) []op { return l.creates(maxOps + 1) })},
	{Name: "record-too-large", Row: 20, About: "a record of more than 1,000,000 bytes", Solo: true,
		tell: withOps(func(l *liar) []op {
			o := l.a.create(collPost, l.h.net.clock.next())
			long := text(strings.Repeat("a", maxRecord))
			return []op{withRecord(o, encodeFields([]field{{"$type", text(collPost)}, {"text", long}}))}
		})},
	{Name: "car-version-2", Row: 22, About: "the header says version 2",
		tell: bentCAR(func(c *carFile) { c.version = 2 })},
	{Name: "car-no-roots", Row: 22, About: "the list of roots is empty",
		tell: bentCAR(func(c *carFile) { c.roots = nil })},
	{Name: "car-root-not-commit", Row: 22, About: "the first root is a tree node, not the commit",
		tell: bentCAR(func(c *carFile) { c.roots = [][]byte{c.blocks[1].cid, c.blocks[0].cid} })},
	{Name: "commit-not-root", Row: 22, About: "the message's commit is not the CAR's root", tell: inMessage(func(m *message) {
		m.set("commit", link(cidOf([]byte("another commit"))))
	})},
	{Name: "car-without-commit", Row: 22, About: "the commit block is not in the CAR",
		tell: bentCAR(func(c *carFile) { c.blocks = c.blocks[1:] })},
	{Name: "car-truncated", Row: 23, About: "the last block is cut short", tell: bent(func(d *draft) {
		d.onCARBytes = func(b []byte) []byte { return b[:len(b)-10] }
	})},
	{Name: "car-hash-mismatch", Row: 23, About: "a byte of the record does not fit its CID", tell: bentCAR(func(c *carFile) {
		last := &c.blocks[len(c.blocks)-1]
		last.data = bytes.Clone(last.data)
		i := bytes.Index(last.data, []byte("createdAt")) // stays a readable record
		last.data[i]++
	})},
	{Name: "sync-hash-mismatch", Row: 23, About: "the commit block of a #sync does not fit its CID", tell: syncHashMismatch},
}

func bentCAR(edit func(*carFile)) func(*liar) error {
	return bent(func(d *draft) { d.onCAR = edit })
}

// padded adds an unlinked block of size bytes.
func padded(size int) func(*carFile) {
	return func(c *carFile) {
		c.blocks = append(c.blocks, newBlock(byteString(make([]byte, size))))
	}
}

// creates drafts n creates of small records.
func (l *liar) creates(n int) []op {
	ops := make([]op, n)
	for i := range ops {
		ops[i] = l.a.create(collLike, l.h.net.clock.next())
	}
	return ops
}

func withRecord(o op, record []byte) op {
	o.record, o.cid = record, cidOf(record)
	return o
}

// newerSync drafts a #sync at a new rev, honest but that nobody made such a commit.
func (l *liar) newerSync() *draft {
	d := l.a.syncDraft(l.h.net.clock.next())
	d.rev = l.a.nextRev(l.h.net.clock.last)
	return d
}

func syncTooLarge(l *liar) error {
	return l.tellDraft(l.newerSync(), func(d *draft) { d.onCAR = padded(maxSyncBlocks) })
}

func syncHashMismatch(l *liar) error {
	return l.tellDraft(l.newerSync(), func(d *draft) {
		d.onCAR = func(c *carFile) {
			c.blocks = slices.Clone(c.blocks)
			c.blocks[0].data = bytes.Replace(c.blocks[0].data, []byte("version\x03"), []byte("version\x04"), 1)
		}
	})
}
