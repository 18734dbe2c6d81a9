package replay

import (
	"context"
	"errors"
	"io"

	"github.com/cistern-archive/cistern/segmentlog"
)

// Batch is a run of consecutive events, ready to write to a socket.
type Batch struct {
	Wire   []byte // WebSocket frames, one after the other
	Events int
	Last   uint64 // seq of the last event
}

// Tier says where a batch came from.
type Tier uint8

// The tiers, nearest first. Disk is the log's local files, hot or sealed.
const (
	Memory Tier = iota
	Disk
)

func (t Tier) String() string {
	if t == Memory {
		return "memory"
	}
	return "disk"
}

// Reader reads the log from a position, from whatever tier holds it. It is for
// one goroutine. Close it.
type Reader struct {
	log  *segmentlog.Log
	ring *Ring
	pos  uint64
	tier Tier

	disk *segmentlog.Reader // nil while the ring serves
	rec  segmentlog.Record
	held bool // rec was read and not yet returned
	buf  []byte
}

// NewReader returns a reader of the events with a seq above pos.
func NewReader(log *segmentlog.Log, ring *Ring, pos uint64) *Reader {
	return &Reader{log: log, ring: ring, pos: pos}
}

// Position is the seq of the last event returned, or where the reader began.
func (r *Reader) Position() uint64 { return r.pos }

// Tier is where the last batch came from.
func (r *Reader) Tier() Tier { return r.tier }

// Close releases what the reader holds.
func (r *Reader) Close() error {
	if r.disk == nil {
		return nil
	}
	err := r.disk.Close()
	r.disk, r.held, r.buf = nil, false, nil
	return err
}

// Poll returns the next events, of at most 256 KiB unless the first is larger.
// When there are none yet the batch is empty and more is closed once there may
// be. The batch's bytes live until the next call.
func (r *Reader) Poll() (b Batch, more <-chan struct{}, err error) {
	b, held, more := r.ring.after(r.pos)
	if !held {
		b, err = r.fromDisk()
		if err != nil || b.Events > 0 {
			return b, nil, err
		}
		// The files end before the ring begins: it moved on meanwhile. Look again.
		b, _, more = r.ring.after(r.pos)
		if more == nil && b.Events == 0 {
			return b, closedChan, nil
		}
	}
	if b.Events > 0 {
		r.tier, r.pos = Memory, b.Last
		return b, nil, r.Close()
	}
	return b, more, nil
}

// Next waits for events.
func (r *Reader) Next(ctx context.Context) (Batch, error) {
	for {
		b, more, err := r.Poll()
		if err != nil || b.Events > 0 {
			return b, err
		}
		select {
		case <-more:
		case <-ctx.Done():
			return b, ctx.Err()
		}
	}
}

var closedChan = func() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

// fromDisk fills the reader's buffer from the files.
func (r *Reader) fromDisk() (Batch, error) {
	if r.disk == nil {
		r.disk = r.log.NewReader(r.pos)
	}
	r.tier = Disk
	b := Batch{Wire: r.buf[:0], Last: r.pos}
	for {
		if !r.held {
			err := r.disk.Next(&r.rec)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return Batch{}, err
			}
		}
		r.held = b.Events > 0 && len(b.Wire)+maxFrameHead+len(r.rec.Frame) > maxWrite
		if r.held {
			break // it stands in the next batch
		}
		b.Wire = appendFrame(b.Wire, opBinary, r.rec.Frame)
		b.Events++
		b.Last = r.rec.Seq
	}
	r.buf, r.pos = b.Wire, b.Last
	return b, nil
}
