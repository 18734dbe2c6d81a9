package verify

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"github.com/cistern-archive/cistern/internal/frame"
	"github.com/cistern-archive/cistern/segmentlog"
)

// futureTolerance is how far ahead of our clock a rev may be.
const futureTolerance = 5 * time.Minute

// T25, checklist: the commit object's did and rev are those of the message.
func checkFieldsAgree(ev *frame.Event, c *commit) error {
	if string(c.did) != ev.DID {
		return drop(25, "commit_did", fmt.Errorf("commit of %q in a message of %q", c.did, ev.DID))
	}
	if string(c.rev) != ev.Rev {
		return drop(25, "commit_rev", fmt.Errorf("commit rev %q in a message of rev %q", c.rev, ev.Rev))
	}
	return nil
}

// T27, checklist: rev is a TID that is not more than 5 minutes in the future.
func checkClock(rev []byte, now time.Time) error {
	micros, ok := tidMicros(rev)
	if !ok {
		return drop(24, "commit_object", fmt.Errorf("rev %q is not a TID", rev))
	}
	if micros > now.Add(futureTolerance).UnixMicro() {
		return drop(27, "rev_in_future", fmt.Errorf("rev %s is of %s", rev, time.UnixMicro(micros).UTC().Format(time.RFC3339)))
	}
	return nil
}

// T28, checklist: a #commit must be newer than what is stored.
func checkCommitRev(ev *frame.Event, prev State) error {
	if prev.Known() && ev.Rev <= prev.Rev {
		return ignore(28, "rev_old", fmt.Errorf("rev %s, stored %s", ev.Rev, prev.Rev))
	}
	return nil
}

// T29, 0006: a #sync may repeat the stored commit, or be newer. The state that it
// leaves is its own, so that the next honest commit is not taken for a break.
func checkSyncRev(ev *frame.Event, c *commit, prev State) (segmentlog.Verdict, error) {
	switch {
	case !prev.Known():
		return segmentlog.FirstSeen, nil
	case ev.Rev > prev.Rev:
		return 0, nil
	case ev.Rev < prev.Rev:
		return 0, ignore(29, "sync_rev_old", fmt.Errorf("rev %s, stored %s", ev.Rev, prev.Rev))
	case !bytes.Equal(c.cid, prev.Commit):
		return 0, drop(29, "sync_rev_reused", errors.New("another commit at the stored rev"))
	}
	return segmentlog.Repeat, nil
}

// chain compares what a #commit says it follows with what is stored. It rejects
// nothing: sync 1.1 wants a break passed on.
//
// T38, 0006 and checklist: prevData differs; only since differs.
func chain(ev *frame.Event, prev State) segmentlog.Verdict {
	switch {
	case !prev.Known():
		return 0
	case !bytes.Equal(ev.PrevData, prev.Data):
		return segmentlog.Discontinuous
	case ev.Since != prev.Rev:
		return segmentlog.Chain | segmentlog.SinceMismatch
	}
	return segmentlog.Chain
}
