package relay

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/cistern-archive/cistern/internal/frame"
	"github.com/cistern-archive/cistern/internal/verify"
	"github.com/cistern-archive/cistern/internal/xrpc"
	"github.com/cistern-archive/cistern/replay"
	"github.com/cistern-archive/cistern/segmentlog"
	"github.com/cistern-archive/cistern/segmentlog/ship"
)

// How far from the time that a rev names its event is looked for: a host's clock may be
// wrong, and an event may be late.
const (
	seekBefore = 2 * time.Minute
	seekAfter  = 30 * time.Minute
	seekEvents = 500_000
)

// position answers where in the log something is.
type position struct {
	source  replay.Source
	shipper *ship.Shipper

	seeking sync.Mutex // one search at a time

	mu     sync.Mutex
	oldest xrpc.Position // as it was found last
}

// StreamID is whose cursors these are.
func (p *position) StreamID() string { return p.source.Log.Stream().ID }

// Describe says what the log holds, and where.
func (p *position) Describe() xrpc.StreamInfo {
	log := p.source.Log
	info := xrpc.StreamInfo{Stream: log.Stream(), Oldest: p.first(), Newest: xrpc.Position{Seq: log.Tip()}, Reserved: log.Reserved()}
	if at := log.Witnessed(); at > 0 {
		info.Newest.Time = time.UnixMicro(at)
	}
	memory, disk, archive := xrpc.TierInfo{Name: replay.Memory.String()}, xrpc.TierInfo{Name: replay.Disk.String()}, xrpc.TierInfo{Name: replay.Archive.String()}
	if after, through, bytes := p.source.Ring.Holds(); through > after {
		memory.First, memory.Last, memory.Bytes = max(after+1, info.Oldest.Seq), through, int64(bytes)
	}
	if disk.First, disk.Bytes = log.Local(); disk.First > 0 {
		disk.Last = info.Newest.Seq
	}
	if archive.Last = p.shipper.Through(); archive.Last > 0 {
		archive.First = info.Oldest.Seq
		_, archive.Bytes = p.shipper.Totals()
	}
	info.Tiers = []xrpc.TierInfo{memory, disk, archive}
	return info
}

// first is the oldest event; when it was witnessed is read once.
func (p *position) first() xrpc.Position {
	p.mu.Lock()
	defer p.mu.Unlock()
	oldest := p.source.Log.Oldest()
	if oldest == p.oldest.Seq || oldest == 0 {
		return p.oldest
	}
	p.oldest = xrpc.Position{Seq: oldest}
	if local := p.source.Log.Sealed(0); len(local) > 0 && local[0].Name.FirstSeq == oldest {
		p.oldest.Time = time.UnixMicro(local[0].FirstWitnessed)
		return p.oldest
	}
	if all := p.shipper.Catalog("", ""); len(all) > 0 && all[0].Name.FirstSeq == oldest {
		p.oldest.Time = time.UnixMicro(all[0].FirstWitnessed)
		return p.oldest
	}
	r := p.source.Log.NewReader(0)
	defer r.Close() // of a file that was only read
	var rec segmentlog.Record
	if err := r.Next(&rec); err == nil && rec.Seq == oldest {
		p.oldest.Time = time.UnixMicro(rec.Witnessed)
	}
	return p.oldest
}

// CursorAt is the cursor behind which the first event is that was witnessed at a time or
// later.
func (p *position) CursorAt(ctx context.Context, t time.Time) (uint64, error) {
	return p.source.Blocks.SeqAt(ctx, t)
}

// CursorOf looks for an account's event with a rev near the time that the rev names.
func (p *position) CursorOf(ctx context.Context, did, rev string) (cursor uint64, exact, found bool, err error) {
	if !p.seeking.TryLock() {
		return 0, false, false, xrpc.ErrBusy
	}
	defer p.seeking.Unlock()
	tid, err := syntax.ParseTID(rev)
	if err != nil {
		return 0, false, false, err
	}
	from, err := p.CursorAt(ctx, tid.Time().Add(-seekBefore))
	if err != nil {
		return 0, false, false, err
	}
	r := p.source.Log.NewReader(from)
	defer r.Close() // of a file that was only read
	until := tid.Time().Add(seekAfter).UnixMicro()
	var rec segmentlog.Record
	var ev frame.Event
	for range seekEvents {
		switch err := r.Next(&rec); {
		case errors.Is(err, io.EOF):
			return 0, false, false, nil
		case err != nil:
			return 0, false, false, err
		case rec.Witnessed > until:
			return 0, false, false, nil
		case ctx.Err() != nil:
			return 0, false, false, ctx.Err()
		case string(rec.DID) != did:
			continue
		}
		switch c := strings.Compare(revOf(&rec, &ev), rev); {
		case c == 0:
			return rec.Seq, true, true, nil
		case c > 0:
			return rec.Seq - 1, false, true, nil
		}
	}
	return 0, false, false, nil
}

// revOf is the rev of a #commit or #sync, "" for any other record.
func revOf(rec *segmentlog.Record, ev *frame.Event) string {
	ev.Reset()
	if len(rec.Frame) == 0 || rec.Digest != nil || frame.ParseInto(rec.Frame, ev) != nil {
		return ""
	}
	state, err := verify.StateOf(ev)
	if err != nil {
		return ""
	}
	return state.Rev
}
