package frame

import (
	"errors"
	"fmt"
	"time"

	"github.com/cistern-archive/cistern/segmentlog/dagcbor"
)

// timeLayout is how AT Protocol writes a datetime: UTC with milliseconds.
const timeLayout = "2006-01-02T15:04:05.000Z"

// NewAccount makes an #account message of our own. An empty status is left out, as
// the lexicon wants of an active account. Its Seq is 0 until the log gives one.
func NewAccount(did string, at time.Time, active bool, status string) *Event {
	ev := &Event{
		Kind: Account, Type: "#account", DID: did, Time: at.UTC().Format(timeLayout), Active: active, Status: status,
	}
	pairs := uint64(4)
	if status != "" {
		pairs++
	}
	h := dagcbor.AppendHead(nil, dagcbor.MajorMap, 2)
	h = dagcbor.AppendText(dagcbor.AppendText(h, "t"), ev.Type)
	h = dagcbor.AppendUint(dagcbor.AppendText(h, "op"), 1)
	h = dagcbor.AppendHead(h, dagcbor.MajorMap, pairs)
	h = dagcbor.AppendText(dagcbor.AppendText(h, "did"), did)
	ev.Head = dagcbor.AppendText(h, "seq")
	t := dagcbor.AppendText(dagcbor.AppendText(nil, "time"), ev.Time)
	t = dagcbor.AppendBool(dagcbor.AppendText(t, "active"), active)
	if status != "" {
		t = dagcbor.AppendText(dagcbor.AppendText(t, "status"), status)
	}
	ev.Tail = t
	return ev
}

// errNotAccount is what WithStatus says of other events.
var errNotAccount = errors.New("frame: not an #account")

// WithStatus returns a copy of an upstream's #account that says active and status
// instead, every other field kept byte for byte; an empty status removes the field.
//
// T16, lexicon.
func (e *Event) WithStatus(active bool, status string) (*Event, error) {
	if e.Kind != Account || e.Head == nil {
		return nil, errNotAccount
	}
	set := edit{key: "status"}
	if status != "" {
		set = edit{key: "status", change: put(dagcbor.AppendText(nil, status)), add: true}
	}
	raw, err := editFrame(e.AppendFrame(nil, max(e.Seq, 1)), []edit{
		{key: "active", change: put(dagcbor.AppendBool(nil, active)), add: true},
		set,
	})
	if err != nil {
		return nil, fmt.Errorf("rewrite #account: %w", err)
	}
	ev, err := Parse(raw)
	if err != nil {
		return nil, fmt.Errorf("rewrite #account: %w", err)
	}
	ev.Seq, ev.Reencoded = e.Seq, e.Reencoded
	return ev, nil
}
