package xrpc

import (
	"context"
	"net/http"
	"time"

	"github.com/cistern-archive/cistern/segmentlog"
)

// Stream is who knows the log.
type Stream interface {
	StreamID() string
	Describe() StreamInfo
	// CursorAt is the cursor behind which the first event is that was witnessed at a time or
	// later.
	CursorAt(ctx context.Context, t time.Time) (uint64, error)
	// CursorOf is the cursor that names an account's event with a rev, or, exact being false,
	// the one before its first event with a later rev. found is false where neither is near
	// the time that the rev names. ErrBusy where too many ask.
	CursorOf(ctx context.Context, did, rev string) (cursor uint64, exact, found bool, err error)
}

// StreamInfo is what a log holds.
type StreamInfo struct {
	segmentlog.Stream
	Oldest, Newest Position
	Reserved       uint64 // the highest cursor that can be of this log
	Tiers          []TierInfo
}

// Position is an event.
type Position struct {
	Seq  uint64
	Time time.Time // when it was witnessed; zero where that is not known
}

// TierInfo is what can be read from one tier: all events from First to Last, none where Last
// is 0.
type TierInfo struct {
	Name        string // memory, disk or archive
	First, Last uint64
	Bytes       int64
}

// streamRoutes adds the methods that concern the log; their lexicons are in
// lexicons/network/cistern.
func streamRoutes(mux *http.ServeMux, s Stream) {
	mux.Handle("/xrpc/network.cistern.getStream", query(func(*http.Request, *params) (any, error) {
		return streamOf(s.Describe()), nil
	}))
	mux.Handle("/xrpc/network.cistern.resolveCursor", query(func(r *http.Request, p *params) (any, error) {
		return resolveCursor(r.Context(), p, s)
	}))
}

type streamView struct {
	Stream   string        `json:"stream"`
	Epochs   []epochView   `json:"epochs"`
	Numbers  string        `json:"numbers,omitempty"`
	Oldest   *positionView `json:"oldest,omitempty"`
	Newest   *positionView `json:"newest,omitempty"`
	Reserved uint64        `json:"reserved"`
	Trimmed  uint64        `json:"trimmedThrough,omitempty"`
	Tiers    []tierView    `json:"tiers"`
}

type epochView struct {
	Epoch       uint64 `json:"epoch"`
	FirstSeq    uint64 `json:"firstSeq"`
	PrevLastSeq uint64 `json:"prevLastSeq"`
}

type positionView struct {
	Seq  uint64     `json:"seq"`
	Time *time.Time `json:"time,omitempty"`
}

type tierView struct {
	Tier  string `json:"tier"`
	First uint64 `json:"firstSeq,omitempty"`
	Last  uint64 `json:"lastSeq,omitempty"`
	Bytes int64  `json:"bytes"`
}

func streamOf(i StreamInfo) streamView {
	v := streamView{
		Stream: i.ID, Numbers: i.Numbers, Oldest: viewOfPosition(i.Oldest), Newest: viewOfPosition(i.Newest), Reserved: i.Reserved,
		Trimmed: i.TrimmedThrough, Tiers: []tierView{},
	}
	for _, e := range i.Epochs {
		v.Epochs = append(v.Epochs, epochView(e))
	}
	for _, t := range i.Tiers {
		v.Tiers = append(v.Tiers, tierView{t.Name, t.First, t.Last, t.Bytes})
	}
	return v
}

func viewOfPosition(p Position) *positionView {
	if p.Seq == 0 {
		return nil
	}
	v := &positionView{Seq: p.Seq}
	if !p.Time.IsZero() {
		at := p.Time.UTC()
		v.Time = &at
	}
	return v
}

type cursorView struct {
	Stream string `json:"stream"`
	Cursor uint64 `json:"cursor"`
	Exact  *bool  `json:"exact,omitempty"`
}

// resolveCursor turns a time, or an account's rev, into a cursor of this stream.
func resolveCursor(ctx context.Context, p *params, s Stream) (any, error) {
	out := cursorView{Stream: s.StreamID()}
	byTime, byRev := p.values.Has("time"), p.values.Has("did") || p.values.Has("rev")
	switch {
	case byTime == byRev:
		p.fail("time", "give a time, or did and rev")
		return nil, invalid(p.err)
	case byTime:
		at := p.time("time")
		if at.IsZero() {
			p.fail("time", "it is empty")
		}
		if p.err != nil {
			return nil, invalid(p.err)
		}
		cursor, err := s.CursorAt(ctx, at)
		out.Cursor = cursor
		return out, err
	}
	did, rev := p.did("did"), p.required("rev", maxTID)
	p.tid("rev", rev)
	if p.err != nil {
		return nil, invalid(p.err)
	}
	cursor, exact, found, err := s.CursorOf(ctx, did, rev)
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, &failure{http.StatusNotFound, "RevNotFound", "the log has no event of that account with that rev or a later one near the time that the rev names: ask for a time"}
	}
	out.Cursor, out.Exact = cursor, &exact
	return out, nil
}
