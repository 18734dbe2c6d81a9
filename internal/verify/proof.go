package verify

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/cistern-archive/cistern/internal/frame"
	"github.com/cistern-archive/cistern/segmentlog"
)

// prove checks that the ops lead from the tree before to the tree after: rows T20
// and T30–T37.
func (v *Verifier) prove(ev *frame.Event, c *commit, prev State) (segmentlog.Verdict, error) {
	var verdict segmentlog.Verdict
	invertible, err := v.readOps(ev)
	if err != nil {
		return 0, err
	}
	if !invertible {
		if err := v.forgive(&verdict, drop(30, "op_without_prev", nil)); err != nil {
			return 0, err
		}
	}
	defect, absent, err := v.checkRecords()
	if err != nil {
		return 0, err
	}
	if defect {
		verdict |= segmentlog.RecordDefect
	}
	if err := v.tree.loadTree(c.data); err != nil {
		return 0, err
	}
	incomplete := v.checkOpsInTree()
	if incomplete != nil && !errors.Is(incomplete, errNodeAbsent) {
		return 0, incomplete
	}
	if absent {
		if err := v.forgive(&verdict, drop(31, "record_absent", nil)); err != nil {
			return 0, err
		}
	}
	if !invertible {
		return verdict, nil
	}
	flags, err := v.checkInversion(ev, c, prev, incomplete)
	if err != nil {
		err = v.forgive(&verdict, err)
	}
	return verdict | flags, err
}

// checkInversion undoes the ops on the new tree and compares the root with what the
// message says stood before. incomplete is errNodeAbsent when it is known already
// that the CAR lacks a node.
func (v *Verifier) checkInversion(ev *frame.Event, c *commit, prev State, incomplete error) (segmentlog.Verdict, error) {
	root, err := c.data, incomplete
	if err == nil && len(v.ops) > 0 {
		root, err = v.undo()
	}
	switch {
	case len(ev.PrevData) == 0:
		return checkGenesis(ev, root, err, prev)
	case len(v.ops) == 0:
		err = checkEmptyCommit(ev, c)
	default:
		err = checkPrevData(ev, root, err)
	}
	if err != nil {
		return 0, err
	}
	return segmentlog.Inversion | firstSeen(prev), nil
}

// T34, checklist: the ops, undone, give prevData; the nodes that this takes are there.
func checkPrevData(ev *frame.Event, root []byte, err error) error {
	if errors.Is(err, errNodeAbsent) {
		return drop(34, "node_absent", err)
	}
	if err != nil {
		return drop(34, "ops_not_invertible", err)
	}
	if !bytes.Equal(root, ev.PrevData) {
		return drop(34, "prev_data_mismatch", fmt.Errorf("the ops undone give %x, prevData is %x", root, ev.PrevData))
	}
	return nil
}

// T35, sync page and checklist: without ops the data stays what it was. MST blocks
// may be absent.
func checkEmptyCommit(ev *frame.Event, c *commit) error {
	if !bytes.Equal(c.data, ev.PrevData) {
		return drop(35, "data_changed_without_ops", fmt.Errorf("data is %x, prevData is %x", c.data, ev.PrevData))
	}
	return nil
}

// checkGenesis judges a #commit without prevData; root is what undoing its ops gives,
// unless err says why that is not known.
//
// T36, repository and sync pages: it must be the first of its repo, and so invert to
// the empty tree; the first that we hear of an account may be unproven.
func checkGenesis(ev *frame.Event, root []byte, err error, prev State) (segmentlog.Verdict, error) {
	switch {
	case ev.Since != "":
		return 0, drop(36, "no_prev_data", fmt.Errorf("since is %q", ev.Since))
	case err == nil && isEmptyTree(root):
		return segmentlog.Inversion | firstSeen(prev), nil
	case !prev.Known():
		return segmentlog.Unproven, nil
	}
	return 0, drop(36, "no_prev_data", errors.New("not the first commit of its repo"))
}

// T37: nothing was stored, and the inversion holds.
func firstSeen(prev State) segmentlog.Verdict {
	if prev.Known() {
		return 0
	}
	return segmentlog.FirstSeen
}
