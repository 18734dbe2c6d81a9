package segmentlog

import "github.com/cistern-archive/cistern/segmentlog/dagcbor"

// Batch is one group commit as OnCommit sees it: consecutive records, durable.
type Batch struct {
	buf  []byte
	refs []batchRef
}

type batchRef struct {
	seq      uint64
	off      int // of the record in buf
	frameOff int
	frameLen int
}

// Len is the number of records.
func (b Batch) Len() int { return len(b.refs) }

// Seq returns the sequence number of record i.
func (b Batch) Seq(i int) uint64 { return b.refs[i].seq }

// Frame returns the frame of record i.
func (b Batch) Frame(i int) []byte {
	r := b.refs[i]
	return b.buf[r.frameOff : r.frameOff+r.frameLen]
}

// DID returns the account of record i.
func (b Batch) DID(i int) []byte {
	r := dagcbor.Reader{Buf: b.buf, Off: b.refs[i].off}
	_, _ = r.Array() // what this process encoded can be read
	_, _ = r.Uint()
	_, _ = r.Int()
	did, _ := r.Text()
	return did
}

// Record decodes record i into r, which then aliases the batch.
func (b Batch) Record(i int, r *Record) error {
	_, err := DecodeRecord(b.buf[b.refs[i].off:], r)
	return err
}

// pendingBatch collects what arrives while the last commit runs. Its buffer
// begins with room for the mark.
type pendingBatch struct {
	buf  []byte
	refs []batchRef
}

func (p *pendingBatch) reset() {
	if cap(p.buf) == 0 {
		p.buf = make([]byte, 0, 64<<10)
	}
	p.buf, p.refs = p.buf[:markSize], p.refs[:0]
}

func (p *pendingBatch) empty() bool { return len(p.refs) == 0 }

func (p *pendingBatch) add(seq uint64, witnessed int64, e *Entry) {
	off := len(p.buf)
	var frameOff, frameLen int
	p.buf, frameOff, frameLen = appendEntry(p.buf, seq, witnessed, e)
	p.refs = append(p.refs, batchRef{seq, off, frameOff, frameLen})
}

func (p *pendingBatch) firstSeq() uint64 { return p.refs[0].seq }
func (p *pendingBatch) lastSeq() uint64  { return p.refs[len(p.refs)-1].seq }
