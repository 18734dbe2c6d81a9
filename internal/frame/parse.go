package frame

import (
	"errors"
	"fmt"

	"github.com/cistern-archive/cistern/segmentlog/dagcbor"
)

// errHeader is what is wrong with a header that is no header.
var errHeader = errors.New("frame: header without a usable op and t")

// Parse reads one WebSocket message. An unknown op or t gives an event of kind
// Unknown and no error (row T3), op -1 one of kind ErrorFrame (T4); every error is an
// *Error that names the row and says what to do. The event aliases raw.
//
// An empty or malformed `since` is no revision and not null either: such a commit
// is dropped like any with a mistyped field, and never guessed to be a first one.
func Parse(raw []byte) (*Event, error) {
	ev := new(Event)
	if err := ParseInto(raw, ev); err != nil {
		return nil, err
	}
	return ev, nil
}

// ParseInto is Parse into an event that is used again: what it held is
// overwritten, the room of its Ops is kept. After an error the event holds nothing
// that may be used.
func ParseInto(raw []byte, ev *Event) error {
	ev.Reset()
	if len(raw) > MaxFrame {
		return &Error{Row: 2, Reason: "frame_too_large", Err: fmt.Errorf("%d bytes", len(raw))}
	}
	fix, err := scan(raw, ev)
	reencoded := false
	if errors.Is(err, dagcbor.ErrNotCanonical) {
		if raw, err = canonical(raw); err != nil {
			return rejection(err)
		}
		ev.Reset()
		reencoded = true
		fix, err = scan(raw, ev)
	}
	if err == nil && fix != 0 {
		if raw, err = repair(raw, fix); err != nil {
			return rejection(err)
		}
		ev.Reset()
		reencoded = true
		_, err = scan(raw, ev)
	}
	if err != nil {
		return rejection(err)
	}
	ev.Reencoded = reencoded && ev.Kind != Unknown
	return nil
}

// scanner reads a canonical frame in one pass. Texts are kept as slices until the
// whole frame is known to be good, and become strings together.
type scanner struct {
	r   dagcbor.Reader
	ev  *Event
	fix fixes

	did, time, rev, since []byte
	handle, status        []byte
	name, message         []byte

	seqOff, seqEnd int
}

// scan reads a canonical frame into ev, which must be reset, and says what row T7
// wants repaired. dagcbor.ErrNotCanonical asks for another encoding.
func scan(raw []byte, ev *Event) (fixes, error) {
	s := scanner{r: dagcbor.Reader{Buf: raw, DataModel: true}, ev: ev}
	if err := s.header(); err != nil {
		return 0, err
	}
	if ev.Kind == Unknown {
		return 0, nil // T3, event-stream: the payload may be anything
	}
	if err := s.payload(); err != nil {
		return 0, err
	}
	if s.r.Rest() != 0 {
		return 0, dagcbor.ErrTrailing
	}
	s.strings()
	if ev.HasSeq() {
		ev.Head, ev.Tail = raw[:s.seqOff:s.seqOff], raw[s.seqEnd:]
	}
	return s.fix, nil
}

// knownHeaders are the headers that every reference host writes, byte for byte.
var knownHeaders = [...]struct {
	kind  Kind
	t     string
	bytes string
}{
	{Commit, "#commit", "\xa2\x61t\x67#commit\x62op\x01"},
	{Identity, "#identity", "\xa2\x61t\x69#identity\x62op\x01"},
	{Account, "#account", "\xa2\x61t\x68#account\x62op\x01"},
	{Sync, "#sync", "\xa2\x61t\x65#sync\x62op\x01"},
	{Info, "#info", "\xa2\x61t\x65#info\x62op\x01"},
}

// header reads {t, op} and sets the event's kind. T3 and T4, event-stream.
func (s *scanner) header() error {
	for i := range knownHeaders {
		k := &knownHeaders[i]
		if n := len(k.bytes); len(s.r.Buf) >= n && string(s.r.Buf[:n]) == k.bytes {
			s.r.Off, s.ev.Kind, s.ev.Type = n, k.kind, k.t
			return nil
		}
	}
	return s.otherHeader()
}

// otherHeader reads a header that has fields of its own or is of another kind.
func (s *scanner) otherHeader() error {
	var t, key []byte
	var op int64
	var hasOp, hasT bool
	n, err := s.r.Map()
	for ; n > 0 && err == nil; n-- {
		if key, err = s.r.KeyAfter(key); err != nil {
			break
		}
		switch string(key) {
		case "op":
			op, err = s.r.Int()
			hasOp = true
		case "t":
			if b, ok := s.r.Peek(); ok && b>>5 != dagcbor.MajorText {
				err = s.r.SkipAt(1)
				break
			}
			t, err = s.r.Text()
			hasT = true
		default:
			err = s.r.SkipAt(1)
		}
	}
	if errors.Is(err, dagcbor.ErrType) || (err == nil && (!hasOp || (op == 1 && !hasT))) {
		return errHeader
	}
	if err != nil {
		return err
	}
	s.kind(op, t)
	return nil
}

func (s *scanner) kind(op int64, t []byte) {
	if op == -1 {
		s.ev.Kind = ErrorFrame
		return
	}
	for _, k := range knownHeaders {
		if op == 1 && string(t) == k.t {
			s.ev.Kind, s.ev.Type = k.kind, k.t
			return
		}
	}
	s.ev.Kind, s.ev.Type = Unknown, string(clip(t))
}

// payload reads the second item, whose fields depend on the kind, and checks that
// none is missing. T7, lexicon.
func (s *scanner) payload() error {
	n, err := s.r.Map()
	if err != nil {
		return mistyped([]byte("payload"), err)
	}
	var seen fields
	var key []byte
	for ; n > 0; n-- {
		if key, err = s.r.KeyAfter(key); err != nil {
			return err
		}
		f, err := s.field(key)
		if err != nil {
			return mistyped(key, err)
		}
		seen |= f
	}
	missing := required[s.ev.Kind] &^ seen
	s.fix |= repairable(s.ev.Kind, missing)
	if missing &^= fieldsOf(s.fix); missing != 0 {
		return &Error{Row: 7, Reason: "missing_field", Err: fmt.Errorf("%s of %s", missing, s.ev.Type)}
	}
	return nil
}

// field reads the value that follows a key.
func (s *scanner) field(key []byte) (fields, error) {
	switch s.ev.Kind {
	case Commit:
		return s.commitField(key)
	case Sync:
		return s.syncField(key)
	case Identity:
		return s.identityField(key)
	case Account:
		return s.accountField(key)
	}
	return s.noticeField(key)
}

// strings turns the texts into strings. The DID has one of its own, because it is
// what callers keep; all others share one, so that an event costs two allocations
// for its texts however many there are.
func (s *scanner) strings() {
	ev := s.ev
	ev.DID = string(s.did)
	n := len(s.time) + len(s.rev) + len(s.since) + len(s.handle) + len(s.status) + len(s.name) + len(s.message)
	for i := range ev.Ops {
		n += len(ev.Ops[i].path)
	}
	var t texts
	t.b.Grow(n)
	ev.Time, ev.Rev, ev.Since = t.add(s.time), t.add(s.rev), t.add(s.since)
	ev.Handle, ev.Status = t.add(s.handle), t.add(s.status)
	ev.Name, ev.Message = t.add(s.name), t.add(s.message)
	for i := range ev.Ops {
		op := &ev.Ops[i]
		op.Path, op.path = t.add(op.path), nil
	}
}
