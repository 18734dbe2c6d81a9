package frame

import (
	"errors"
	"fmt"
	"strings"

	"github.com/cistern-archive/cistern/segmentlog/dagcbor"
)

// fields is a set of fields of a payload.
type fields uint32

const (
	fSeq fields = 1 << iota
	fDID        // `repo` in a #commit
	fTime
	fRev
	fSince
	fCommit
	fBlocks
	fOps
	fBlobs
	fRebase
	fTooBig
	fActive
	fName
	fAction
	fPath
	fCID
)

var fieldNames = [...]string{
	"seq", "repo or did", "time", "rev", "since", "commit", "blocks", "ops", "blobs",
	"rebase", "tooBig", "active", "name", "action", "path", "cid",
}

// String lists the fields by name.
func (f fields) String() string {
	var names []string
	for i, n := range fieldNames {
		if f&(1<<i) != 0 {
			names = append(names, n)
		}
	}
	return strings.Join(names, ", ")
}

// required lists what the lexicon wants of each kind. T7, lexicon.
var required = [...]fields{
	Commit:     fSeq | fDID | fTime | fRev | fSince | fCommit | fBlocks | fOps | fBlobs | fRebase | fTooBig,
	Sync:       fSeq | fDID | fTime | fRev | fBlocks,
	Identity:   fSeq | fDID | fTime,
	Account:    fSeq | fDID | fTime | fActive,
	Info:       fName,
	ErrorFrame: 0, // what a failing host says is shown, not judged
}

const requiredOp = fAction | fPath | fCID

// Details of T7's bad_time, bad_rev and bad_since.
var (
	errDatetime = errors.New("not a datetime")
	errTID      = errors.New("not a TID")
)

// commitField reads one field of a #commit. T7, lexicon.
func (s *scanner) commitField(key []byte) (f fields, err error) {
	switch string(key) {
	case "seq":
		return fSeq, s.seq()
	case "repo":
		s.did, err = s.r.Text()
		return fDID, err
	case "time":
		return fTime, s.datetime()
	case "rev":
		s.rev, err = s.tid("bad_rev")
		return fRev, err
	case "since":
		if !s.r.Null() {
			s.since, err = s.tid("bad_since")
		}
		return fSince, err
	case "commit":
		s.ev.Commit, err = s.r.CID()
		return fCommit, err
	case "prevData":
		if s.r.Null() {
			s.fix |= fixPrevData
			return 0, nil
		}
		s.ev.PrevData, err = s.r.CID()
		return 0, err
	case "blocks":
		s.ev.Blocks, err = s.r.Bytes()
		return fBlocks, err
	case "ops":
		return fOps, s.ops()
	case "blobs":
		return fBlobs, s.blobs()
	case "rebase":
		s.ev.Rebase, err = s.r.Bool()
		return fRebase, err
	case "tooBig":
		s.ev.TooBig, err = s.r.Bool()
		return fTooBig, err
	}
	return 0, s.r.SkipAt(1)
}

// syncField reads one field of a #sync. T7, lexicon.
func (s *scanner) syncField(key []byte) (f fields, err error) {
	switch string(key) {
	case "rev":
		s.rev, err = s.tid("bad_rev")
		return fRev, err
	case "blocks":
		s.ev.Blocks, err = s.r.Bytes()
		return fBlocks, err
	}
	return s.commonField(key)
}

// identityField reads one field of an #identity; any text passes as a handle. T7,
// lexicon.
func (s *scanner) identityField(key []byte) (f fields, err error) {
	if string(key) == "handle" {
		s.handle, err = s.r.Text()
		return 0, err
	}
	return s.commonField(key)
}

// accountField reads one field of an #account; any text passes as a status. T7,
// lexicon; T17, account.
func (s *scanner) accountField(key []byte) (f fields, err error) {
	switch string(key) {
	case "active":
		s.ev.Active, err = s.r.Bool()
		return fActive, err
	case "status":
		s.status, err = s.r.Text()
		return 0, err
	}
	return s.commonField(key)
}

// commonField reads what every message but #commit names alike.
func (s *scanner) commonField(key []byte) (f fields, err error) {
	switch string(key) {
	case "seq":
		return fSeq, s.seq()
	case "did":
		s.did, err = s.r.Text()
		return fDID, err
	case "time":
		return fTime, s.datetime()
	}
	return 0, s.r.SkipAt(1)
}

// noticeField reads one field of an #info (T5, lexicon) or of an error frame (T4,
// event-stream). A null message is an absent one: these frames are never served on.
func (s *scanner) noticeField(key []byte) (f fields, err error) {
	switch {
	case string(key) == "message":
		if !s.r.Null() {
			s.message, err = s.r.Text()
		}
		return 0, err
	case string(key) == "name" && s.ev.Kind == Info:
		s.name, err = s.r.Text()
		return fName, err
	case string(key) == "error" && s.ev.Kind == ErrorFrame:
		s.name, err = s.r.Text()
		return 0, err
	}
	return 0, s.r.SkipAt(1)
}

// seq reads the number and remembers where it stands. T8, event-stream.
func (s *scanner) seq() error {
	s.seqOff = s.r.Off
	major, n, err := s.r.Head()
	if err != nil {
		return err
	}
	s.seqEnd, s.ev.Seq = s.r.Off, n
	switch {
	case major == dagcbor.MajorNint:
		return &Error{Row: 8, Reason: "seq_out_of_range", Close: true, Err: errors.New("negative seq")}
	case major != dagcbor.MajorUint:
		return dagcbor.ErrType
	case n == 0 || n > MaxSeq:
		return &Error{Row: 8, Reason: "seq_out_of_range", Close: true, Err: fmt.Errorf("seq %d", n)}
	}
	return nil
}

func (s *scanner) datetime() (err error) {
	if s.time, err = s.r.Text(); err == nil && !validDatetime(s.time) {
		return &Error{Row: 7, Reason: "bad_time", Err: fmt.Errorf("%w: %q", errDatetime, clip(s.time))}
	}
	return err
}

func (s *scanner) tid(reason string) ([]byte, error) {
	b, err := s.r.Text()
	if err == nil && !validTID(b) {
		return nil, &Error{Row: 7, Reason: reason, Err: fmt.Errorf("%w: %q", errTID, clip(b))}
	}
	return b, err
}

// blobs checks that the deprecated list holds links and nothing else.
func (s *scanner) blobs() error {
	n, err := s.r.Array()
	for ; n > 0 && err == nil; n-- {
		_, err = s.r.CID()
	}
	return err
}

// MaxOps bounds the operations of a #commit (row T19). It is judged here already,
// because twenty bytes of frame can make a hundred of memory.
const MaxOps = 200

// ops reads the list of repo operations. T19, sync.
func (s *scanner) ops() error {
	n, err := s.r.Array()
	if err != nil {
		return err
	}
	if n > MaxOps {
		return &Error{Row: 19, Reason: "op_count", Err: fmt.Errorf("%d ops", n)}
	}
	if cap(s.ev.Ops) < n {
		s.ev.Ops = make([]Op, 0, n)
	}
	for ; n > 0; n-- {
		if err := s.op(); err != nil {
			return err
		}
	}
	return nil
}

// op reads one repo operation. T7, lexicon.
func (s *scanner) op() error {
	n, err := s.r.Map()
	if err != nil {
		return err
	}
	s.ev.Ops = append(s.ev.Ops, Op{})
	var seen fields
	var key []byte
	for ; n > 0; n-- {
		if key, err = s.r.KeyAfter(key); err != nil {
			return err
		}
		f, err := s.opField(key)
		if err != nil {
			return mistyped(key, err)
		}
		seen |= f
	}
	if missing := requiredOp &^ seen; missing != 0 {
		return &Error{Row: 7, Reason: "missing_field", Err: fmt.Errorf("%s of an op", missing)}
	}
	return nil
}

func (s *scanner) opField(key []byte) (f fields, err error) {
	op := &s.ev.Ops[len(s.ev.Ops)-1]
	switch string(key) {
	case "action":
		var b []byte
		b, err = s.r.Text()
		op.Action = action(b)
		return fAction, err
	case "path":
		op.path, err = s.r.Text()
		return fPath, err
	case "cid":
		if !s.r.Null() {
			op.CID, err = s.r.CID()
		}
		return fCID, err
	case "prev":
		if s.r.Null() {
			s.fix |= fixOpPrev
			return 0, nil
		}
		op.Prev, err = s.r.CID()
		return 0, err
	}
	return 0, s.r.SkipAt(3)
}

// action makes a string of an op's action, without allocation for those we know.
func action(b []byte) string {
	switch string(b) {
	case "create":
		return "create"
	case "update":
		return "update"
	case "delete":
		return "delete"
	}
	return string(b)
}

// texts makes many strings of one allocation.
type texts struct{ b strings.Builder }

// add appends b, for which there must be room, and returns it as a string.
func (t *texts) add(b []byte) string {
	n := t.b.Len()
	t.b.Write(b)
	return t.b.String()[n:]
}
