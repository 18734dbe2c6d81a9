package verify

import (
	"fmt"
	"strings"

	"github.com/cistern-archive/cistern/internal/frame"
	"github.com/cistern-archive/cistern/segmentlog"
)

// Skim judges a #commit or #sync by nobody's key: what it says of itself must agree
// (rows T18, T22, T24 and T25), and its rev must be neither of the future (T27) nor old
// (T28, T29). Nothing else is looked at, and nothing is proven: the verdict says so.
func (v *Verifier) Skim(ev *frame.Event, prev State) (Result, error) {
	if err := checkBlocksSize(ev); err != nil {
		return Result{}, err
	}
	c := &v.commit
	root, err := c.find(ev)
	if err != nil {
		return Result{}, err
	}
	if ev.Kind == frame.Commit && string(root) != string(ev.Commit) {
		return Result{}, drop(22, "car_root_mismatch", fmt.Errorf("root %x, commit %x", root, ev.Commit))
	}
	if err := checkFieldsAgree(ev, c); err != nil {
		return Result{}, err
	}
	if err := checkClock(c.rev, v.opt.Now()); err != nil {
		return Result{}, err
	}
	verdict := segmentlog.Unverified
	if ev.Kind == frame.Sync {
		more, err := checkSyncRev(ev, c, prev)
		if err != nil {
			return Result{}, err
		}
		verdict |= more
	} else if err := checkCommitRev(ev, prev); err != nil {
		return Result{}, err
	}
	return Result{Verdict: verdict, State: newState(c)}, nil
}

// find decodes the commit block of an event, which its CAR's root names.
func (c *commit) find(ev *frame.Event) (root []byte, err error) {
	root, blocks, err := readCARHeader(ev.Blocks)
	if err != nil {
		return nil, err
	}
	for len(blocks) > 0 {
		cid, data, rest, err := nextBlock(blocks)
		if err != nil {
			return nil, err
		}
		if string(cid) == string(root) {
			return root, c.decodeCommit(cid, data)
		}
		blocks = rest
	}
	return nil, drop(22, "commit_block_absent", nil)
}

// StateOf reads the state that a #commit or #sync leaves, for an event that is in the
// log already: nothing is verified, nothing but the commit block is decoded.
func StateOf(ev *frame.Event) (State, error) {
	var c commit
	if _, err := c.find(ev); err != nil {
		return State{}, fmt.Errorf("state of %s at %s: %w", ev.DID, strings.Clone(ev.Rev), err)
	}
	return newState(&c), nil
}
