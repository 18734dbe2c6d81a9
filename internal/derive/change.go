package derive

import (
	"errors"
	"fmt"

	"github.com/cistern-archive/cistern/internal/accounts"
	"github.com/cistern-archive/cistern/internal/frame"
	"github.com/cistern-archive/cistern/internal/verify"
	"github.com/cistern-archive/cistern/segmentlog"
)

// ChangeOf says what a record changes about its account. ev is room to parse the
// frame in; what it holds afterwards aliases the record. An error is of the frame
// only: c then has what the other fields say.
func ChangeOf(rec *segmentlog.Record, ev *frame.Event, c *accounts.Change) error {
	ev.Reset()
	*c = accounts.Change{
		At: rec.Seq, Host: string(rec.Host), Epoch: rec.HostEpoch, Seq: rec.HostSeq, Verdict: rec.Verdict,
	}
	// An erased frame says nothing any more; its mark and floor still do.
	if len(rec.Frame) == 0 || rec.Digest != nil {
		return nil
	}
	if err := changeOfFrame(rec, ev, c); err != nil {
		ev.Reset()
		return fmt.Errorf("frame of seq %d: %w", rec.Seq, err)
	}
	return nil
}

func changeOfFrame(rec *segmentlog.Record, ev *frame.Event, c *accounts.Change) error {
	if err := frame.ParseInto(rec.Frame, ev); err != nil {
		return err
	}
	switch ev.Kind {
	case frame.Commit, frame.Sync:
		state, err := verify.StateOf(ev)
		if err != nil {
			return err
		}
		c.Repo = state
	case frame.Account:
		c.SetStatus(accounts.StatusOf(ev.Active, ev.Status))
	case frame.Identity:
	default:
		return errors.New("not an event of an account")
	}
	return nil
}
