package verify

import (
	"fmt"

	"github.com/cistern-archive/cistern/segmentlog"
)

// Action is what happens with an event, in the words of docs/verification.md.
type Action uint8

// The actions. Pass is not used in a Rejection.
const (
	Pass Action = iota
	Drop
	Ignore
	Hold
	Close
)

// Rejection is the error of every rule that an event can break.
type Rejection struct {
	Row    int    // row of the table, 1…38
	Action Action // Drop or Ignore here; callers know Hold and Close too
	Reason string // stable metric label in snake_case, such as "bad_signature"
	Err    error  // detail, may be nil
}

func (r *Rejection) Error() string {
	if r.Err == nil {
		return fmt.Sprintf("T%d %s", r.Row, r.Reason)
	}
	return fmt.Sprintf("T%d %s: %v", r.Row, r.Reason, r.Err)
}

func (r *Rejection) Unwrap() error { return r.Err }

// State is what the log knows of an account's repo. The zero value means that
// nothing is stored.
type State struct {
	Rev    string // TID of the newest accepted commit or sync
	Data   []byte // binary CID of the MST root
	Commit []byte // binary CID of the commit block
}

// Known says whether anything is stored.
func (s State) Known() bool { return s.Rev != "" }

// Result is what an accepted #commit or #sync comes to.
type Result struct {
	Verdict segmentlog.Verdict
	State   State // freshly allocated: it does not alias the frame
}
