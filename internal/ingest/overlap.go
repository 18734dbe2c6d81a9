package ingest

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"github.com/cistern-archive/cistern/internal/frame"
	"github.com/cistern-archive/cistern/internal/ledger"
	"github.com/cistern-archive/cistern/internal/verify"
)

// Known is an event of the log, as a relay should send it again.
type Known struct {
	Seq        uint64 // the relay's own
	Head, Tail []byte // of the frame that the log has
}

// NumberingError says that a relay's numbers do not mean what the log's do. Nothing of
// the relay is logged until that is settled.
type NumberingError struct {
	Relay string
	Saw   string // what was seen
	Tip   uint64 // the log's last number, as the relay counts
	Epoch uint64 // of the relay's numbering, in the log
}

func (e *NumberingError) Error() string {
	return fmt.Sprintf("%s: the log has this relay's events up to seq %d, and %s: another relay answers, or it restarted its numbering. "+
		"Nothing is read from it until it answers as before: name the relay that the log is of in --upstream-relay, "+
		"or start with --upstream-epoch=%d to read this one from its beginning under higher numbers", e.Relay, e.Tip, e.Saw, e.Epoch+1)
}

// maxJump is how far a relay's numbers may jump at once: an epoch of a Cistern's log is
// 2·10^9 at most. One frame above is dropped, many are another numbering.
const maxJump = 10_000_000_000

// Relays are known to jump to the present without a word: from an old cursor, or from the
// end of one of their files. So a jump to an event that was just made, or over more than
// wideJump numbers, is believed only when it is there again on connections that begin
// further back, by each of lookBack. Over few numbers, far from the present, a relay leaves
// out what it has taken down; a Cistern jumps over numbers that were never given, and never
// without a word over any other.
const (
	wideJump = 128
	justMade = 2 * time.Minute
)

var lookBack = [...]uint64{1 << 12, 1 << 16, 1 << 20}

// skipError ends a connection whose numbers jump further than is believed at once.
type skipError struct{ last, seq uint64 }

func (e *skipError) Error() string {
	return fmt.Sprintf("it jumped from seq %d to %d without a word: it is asked again from further back", e.last, e.seq)
}

// doubt is how often a jump was asked about.
type doubt struct {
	last  uint64 // the log's last number before it
	tries int
}

// overlap holds what a connection to a relay begins with against the end of the log. A
// cursor alone would not tell: the numbers of a relay that began anew may have passed it.
//
//	log    … 97 98 99 100
//	asked for what comes after 97
//	relay           98 99 100 101 …     the same bytes: go on
//	relay           98' …               other bytes: another numbering
type overlap struct {
	y      *relayed
	win    *window
	conn   *ledger.Connection
	cursor uint64 // that was asked for
	stream string // whose numbers these are, by the relay's word; "" where it does not say
	known  []Known
	proven bool // one of them came, and was the same
	begun  bool // an event came that the log has not
	jumps  int  // in a row
	forgot bool // the relay said that it no longer has all
}

// begin asks for the log's last events, and says where the connection must begin so that
// they come again. It returns nil where numbers are not kept.
func (y *relayed) begin(ctx context.Context, win *window) (*overlap, uint64, error) {
	cursor := win.cursor()
	if y == nil || !y.opts.KeepSeq {
		return nil, cursor, nil
	}
	known, err := y.opts.Last(ctx)
	if err != nil {
		return nil, 0, fmt.Errorf("the end of the log cannot be read: %w", err)
	}
	o := &overlap{y: y, win: win, known: known, cursor: cursor}
	if y.doubt.last == cursor && y.doubt.tries > 0 {
		o.cursor -= min(o.cursor, lookBack[y.doubt.tries-1])
	}
	if len(known) > 0 {
		o.cursor = min(o.cursor, known[0].Seq-1)
	}
	return o, o.cursor, nil
}

// opened notes which stream a connection is of, and says whether it is the one before.
func (o *overlap) opened(stream string) error {
	if o == nil {
		return nil
	}
	o.stream = stream
	if was := o.y.stream; was != "" && stream != was {
		return o.failed("it answers with stream %q after %q", stream, was)
	}
	o.y.stream = stream
	return nil
}

func (o *overlap) failed(format string, args ...any) error {
	err := &NumberingError{Relay: o.y.h.addr.name, Saw: fmt.Sprintf(format, args...), Tip: o.win.cursor(), Epoch: o.win.epoch}
	o.y.broken.Store(err)
	return err
}

// again looks at an event that is not new, and says whether the numbering goes on.
func (o *overlap) again(ev *frame.Event) error {
	if o == nil {
		return nil
	}
	if ev.Seq <= o.cursor {
		return o.failed("it sends seq %d when asked for what comes after %d", ev.Seq, o.cursor)
	}
	for i := range o.known {
		k := &o.known[i]
		if k.Seq != ev.Seq {
			continue
		}
		if !bytes.Equal(k.Head, ev.Head) || !bytes.Equal(k.Tail, ev.Tail) {
			return o.failed("it has another event under seq %d", ev.Seq)
		}
		o.proven = true
		o.y.broken.Store(nil)
	}
	return nil
}

// fresh looks at an event that is new. taken is false for one that must be left out; an
// error ends the connection.
func (o *overlap) fresh(m *message) (taken bool, err error) {
	if o == nil {
		return true, nil
	}
	seq, last := m.ev.Seq, o.win.cursor()
	if last > 0 && seq > last+maxJump {
		o.y.h.reject(m, &verify.Rejection{Row: 8, Action: verify.Drop, Reason: "seq_jump", Err: fmt.Errorf("from %d", last)})
		if o.jumps++; o.jumps >= maxBackwards {
			return false, o.failed("it goes on at seq %d", seq)
		}
		return false, nil
	}
	o.jumps = 0
	if last > 0 && seq > last+1 && !o.forgot && o.stream == "" {
		wide := seq > last+wideJump
		if (wide || o.justMade(&m.ev)) && o.y.doubts(last, wide) {
			return false, &skipError{last, seq}
		}
	}
	if !o.begun {
		if err := o.settle(seq, last); err != nil {
			return false, err
		}
	}
	if last > 0 && seq > last+1 {
		o.conn.Skipped(last, seq)
		if seq > last+wideJump {
			o.y.h.log.Warn("the relay has no events under numbers that it jumped over, or no longer has them: neither has the log", "after", last, "before", seq)
		}
	}
	return true, nil
}

// justMade says whether an event may be one of the present.
func (o *overlap) justMade(ev *frame.Event) bool {
	made, err := time.Parse(time.RFC3339Nano, ev.Time)
	return err != nil || o.y.h.m.opts.Now().Sub(made) < justMade
}

// settle decides, at the first new event, whether the numbering is the log's.
func (o *overlap) settle(seq, last uint64) error {
	from, name := o.y.opts.From.Host, o.y.h.addr.name
	if len(o.known) > 0 && !o.proven {
		if from != "" && from != name {
			return o.failed("it sends none of the last %d events of the log, which are of %s, again", len(o.known), from)
		}
		o.y.h.log.Warn("the relay sends none of the log's last events again: that its numbers are the same cannot be told",
			"seq", seq, "last", last, "it_said_so", o.forgot)
	}
	o.y.broken.Store(nil)
	o.begun, o.known, o.y.opts.From.Host = true, nil, name
	return nil
}

// doubts says whether a jump is to be asked about once more. One over few numbers is not
// worth a million events.
func (y *relayed) doubts(last uint64, wide bool) bool {
	if y.doubt.last != last {
		y.doubt = doubt{last: last}
	}
	if y.doubt.tries == len(lookBack) || !wide && y.doubt.tries == len(lookBack)-1 {
		return false
	}
	y.doubt.tries++
	return true
}

// forgets notes that the relay no longer has all that was asked for.
func (o *overlap) forgets() {
	if o != nil {
		o.forgot = true
	}
}

// future is an error frame which says that the cursor is in the relay's future.
func (o *overlap) future() error { return o.failed("it says that %d is in its future", o.cursor) }
