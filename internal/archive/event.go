package archive

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"time"

	"github.com/bluesky-social/indigo/atproto/atdata"
	"github.com/ipfs/go-cid"

	"github.com/cistern-archive/cistern/internal/frame"
	"github.com/cistern-archive/cistern/internal/verify"
	"github.com/cistern-archive/cistern/segmentlog"
)

// timeFormat is RFC 3339 with microseconds.
const timeFormat = "2006-01-02T15:04:05.000000Z"

// Event is a record in JSON, one line of Cat.
type Event struct {
	Seq       uint64 `json:"seq"`
	Witnessed string `json:"witnessed"` // RFC 3339 with microseconds
	DID       string `json:"did"`
	Host      string `json:"host"` // "" for an event of the relay's own
	Kind      string `json:"kind"` // as in the frame: #commit, #sync, #identity, #account; "" when erased
	Rev       string `json:"rev,omitempty"`
	Ops       []Op   `json:"ops,omitempty"`
	Handle    string `json:"handle,omitempty"`
	Active    *bool  `json:"active,omitempty"` // of #account
	Status    string `json:"status,omitempty"`
	Verdict   string `json:"verdict,omitempty"` // the names of its bits
	Erased    bool   `json:"erased,omitempty"`  // the frame was removed, in whole or in part
	Error     string `json:"error,omitempty"`   // why the frame cannot be read
}

// Op is one op of a commit. Record is the record's JSON form (the data-model page of
// the AT Protocol specification, "JSON Representation"); absent when the frame does
// not hold its block. What is not of the data model, such as a float, has Error and
// the block's bytes instead.
type Op struct {
	Action string          `json:"action"`
	Path   string          `json:"path"`
	CID    string          `json:"cid,omitempty"`
	Prev   string          `json:"prev,omitempty"`
	Record json.RawMessage `json:"record,omitempty"`
	Error  string          `json:"error,omitempty"`
	Block  *atdata.Bytes   `json:"block,omitempty"`
}

// newEvent describes a record; ev is its parsed frame, empty when there is none to
// parse or, for a reason, it cannot be.
func newEvent(rec *segmentlog.Record, ev *frame.Event, reason error) *Event {
	e := &Event{
		Seq: rec.Seq, Witnessed: time.UnixMicro(rec.Witnessed).UTC().Format(timeFormat), DID: string(rec.DID), Host: string(rec.Host),
		Kind: ev.Type, Rev: ev.Rev, Handle: ev.Handle, Status: ev.Status, Verdict: rec.Verdict.String(), Erased: rec.Digest != nil,
	}
	if reason != nil {
		e.Error = reason.Error()
	}
	if ev.Kind == frame.Account {
		e.Active = &ev.Active
	}
	if ev.Kind == frame.Commit && len(ev.Ops) > 0 {
		e.Ops, reason = opsOf(ev)
		if reason != nil && !e.Erased {
			e.Error = reason.Error()
		}
	}
	return e
}

// opsOf decodes the records of a commit's ops, as far as its CAR can be read.
func opsOf(ev *frame.Event) ([]Op, error) {
	wanted := map[string][]byte{}
	for i := range ev.Ops {
		wanted[string(ev.Ops[i].CID)] = nil
	}
	var unreadable error
	for b, err := range verify.Blocks(ev.Blocks) {
		if err != nil {
			unreadable = err
			break
		}
		if _, ok := wanted[string(b.CID)]; ok {
			wanted[string(b.CID)] = b.Data
		}
	}
	ops := make([]Op, len(ev.Ops))
	for i := range ev.Ops {
		op := &ev.Ops[i]
		ops[i] = Op{Action: op.Action, Path: op.Path, CID: cidText(op.CID), Prev: cidText(op.Prev)}
		if block := wanted[string(op.CID)]; op.CID != nil && block != nil {
			ops[i].decode(block)
		}
	}
	return ops, unreadable
}

func (o *Op) decode(block []byte) {
	rec, err := atdata.UnmarshalCBOR(block)
	if err == nil {
		notNil(rec)
		o.Record, err = plainJSON(rec)
	}
	if err != nil {
		whole := append(atdata.Bytes{}, block...)
		o.Record, o.Error, o.Block = nil, err.Error(), &whole
	}
}

// notNil makes byte strings of no length empty and not nil, which have no JSON form.
func notNil(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k := range v {
			v[k] = notNil(v[k])
		}
	case []any:
		for i := range v {
			v[i] = notNil(v[i])
		}
	case atdata.Bytes:
		if v == nil {
			return atdata.Bytes{}
		}
	}
	return v
}

// plainJSON is v in JSON, with <, > and & as they are.
func plainJSON(v any) (json.RawMessage, error) {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return bytes.TrimSuffix(out.Bytes(), []byte("\n")), err
}

// cidText is a CID as text; what is none is multibase hexadecimal.
func cidText(b []byte) string {
	if len(b) == 0 {
		return ""
	}
	if c, err := cid.Cast(b); err == nil {
		return c.String()
	}
	return "f" + hex.EncodeToString(b)
}
