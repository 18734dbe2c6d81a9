package replay

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/cistern-archive/cistern/segmentlog"
)

// start is where a consumer begins, and what it is told first: an error frame, which
// ends the connection, or an #info message.
type start struct {
	after      uint64
	errName    string
	errMessage string
	info       string // message of an #info OutdatedCursor, "" for none
}

func badRequest(name, format string, args ...any) *refusal {
	return &refusal{status: http.StatusBadRequest, name: name, message: fmt.Sprintf(format, args...)}
}

// parse reads the parameters: cursor or since, and stream.
func (s *Server) parse(r *http.Request) (start, *refusal) {
	q := r.URL.Query()
	log := s.opts.Source.Log
	if id := q.Get("stream"); q.Has("stream") && id != log.Stream().ID {
		return start{}, badRequest(StreamMismatch, "this is stream %s: cursors of another stream mean nothing here", log.Stream().ID)
	}
	for _, name := range []string{"cursor", "since", "stream"} {
		if len(q[name]) > 1 {
			return start{}, badRequest("InvalidRequest", "%s is given %d times", name, len(q[name]))
		}
	}
	switch {
	case q.Has("cursor") && q.Has("since"):
		return start{}, badRequest("InvalidRequest", "give cursor or since, not both")
	case q.Has("since"):
		return s.since(r.Context(), q.Get("since"))
	case !q.Has("cursor"):
		return start{after: log.Tip()}, nil
	}
	cursor, err := strconv.ParseInt(q.Get("cursor"), 10, 64)
	if err != nil || cursor < 0 {
		return start{}, badRequest("InvalidRequest", "cursor must be a sequence number, 0 or more, not %q", q.Get("cursor"))
	}
	if top := log.Reserved(); uint64(cursor) > top {
		return start{errName: FutureCursor, errMessage: fmt.Sprintf(
			"cursor %d is above everything in this log: stream %s ends at %d", cursor, log.Stream().ID, log.Tip())}, nil
	}
	return start{after: uint64(cursor), info: outdated(log, uint64(cursor))}, nil
}

// since finds the first event that was witnessed at or after a time; without one the
// consumer waits at the tip.
func (s *Server) since(ctx context.Context, text string) (start, *refusal) {
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return start{}, badRequest("InvalidRequest", "since must be a time of RFC 3339 such as 2026-01-31T12:00:00Z, not %q", text)
	}
	pos, err := s.opts.Source.Blocks.SeqAt(ctx, t)
	if err != nil {
		s.opts.Logger.Error("a time cannot be found in the log", "since", text, "err", err)
		return start{}, &refusal{http.StatusServiceUnavailable, InternalError, "the log cannot be read at that time; the operator was told", "60"}
	}
	begin := start{after: pos}
	log := s.opts.Source.Log
	if through := log.Stream().TrimmedThrough; through > 0 && pos < log.Oldest() {
		begin.info = fmt.Sprintf("the log was trimmed through seq %d: there may have been events since %s that are not kept", through, text)
	}
	return begin, nil
}

// outdated says what a consumer should know whose cursor stands where an epoch ended and
// its last numbers were lost, or, where the numbers are those of another log, before this one
// began; "" for any other cursor. That events were trimmed is the reader's to say, at the
// place where they are missing.
func outdated(log *segmentlog.Log, cursor uint64) string {
	s, oldest := log.Stream(), log.Oldest()
	if s.Borrowed() && s.TrimmedThrough == 0 && cursor > 0 && cursor+1 < oldest {
		return fmt.Sprintf("this log of the events of %s begins at seq %d: what came from seq %d on is not in it", s.Numbers, oldest, cursor+1)
	}
	for _, e := range s.Epochs[1:] {
		if cursor > e.PrevLastSeq && cursor < e.FirstSeq {
			return fmt.Sprintf("cursor %d names what was lost: the log holds nothing from seq %d to %d (epoch %d begins after it); what hosts sent then comes again under new numbers",
				cursor, e.PrevLastSeq+1, e.FirstSeq-1, e.Epoch)
		}
	}
	return ""
}
