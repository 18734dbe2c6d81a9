package verify

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"github.com/cistern-archive/cistern/internal/frame"
)

// op is a checked repo operation.
type op struct {
	path   []byte
	height int // layer of the path in the MST
	cid    []byte
	prev   []byte
	kind   opKind
}

type opKind uint8

const (
	create opKind = iota + 1
	update
	remove
)

// readOps checks the form of each op and leaves them in v.ops, sorted by path. It
// says whether all can be undone, which takes the prev of updates and deletes.
//
// T30, sync page: known actions, repo paths, no path twice, cid and prev as the
// action has them. A missing prev is forgiven when lenient.
func (v *Verifier) readOps(ev *frame.Event) (invertible bool, err error) {
	v.ops = v.ops[:0]
	invertible = true
	for i := range ev.Ops {
		o := &ev.Ops[i]
		kind, err := opForm(o)
		if err != nil {
			return false, drop(30, "op_form", err)
		}
		if kind != create && len(o.Prev) == 0 {
			invertible = false
		}
		path := v.tree.newKey(len(o.Path))
		copy(path, o.Path)
		v.ops = append(v.ops, op{path: path, height: keyHeight(path), cid: o.CID, prev: o.Prev, kind: kind})
	}
	slices.SortFunc(v.ops, func(a, b op) int { return bytes.Compare(a.path, b.path) })
	for i := 1; i < len(v.ops); i++ {
		if bytes.Equal(v.ops[i-1].path, v.ops[i].path) {
			return false, drop(30, "op_path_twice", fmt.Errorf("path %q", v.ops[i].path))
		}
	}
	return invertible, nil
}

func opForm(o *frame.Op) (opKind, error) {
	if !validPath(o.Path) {
		return 0, fmt.Errorf("bad path %q", o.Path)
	}
	hasCID, hasPrev := len(o.CID) != 0, len(o.Prev) != 0
	switch o.Action {
	case "create":
		if !hasCID || hasPrev {
			return 0, fmt.Errorf("create %q: needs a cid and no prev", o.Path)
		}
		return create, nil
	case "update":
		if !hasCID {
			return 0, fmt.Errorf("update %q: needs a cid", o.Path)
		}
		return update, nil
	case "delete":
		if hasCID {
			return 0, fmt.Errorf("delete %q: has a cid", o.Path)
		}
		return remove, nil
	}
	return 0, fmt.Errorf("bad action %q", o.Action)
}

// checkOpsInTree compares the ops with the new tree. An error that is errNodeAbsent
// means that the CAR does not hold what would show it.
//
// T31, checklist: what was created or updated stands under its path with its CID,
// and what was deleted does not stand there.
func (v *Verifier) checkOpsInTree() error {
	absent := false
	for i := range v.ops {
		o := &v.ops[i]
		value, err := v.tree.find(o.path, o.height)
		switch {
		case err != nil:
			absent = true
		case o.kind == remove && value != nil:
			return drop(31, "op_deleted_present", fmt.Errorf("path %q", o.path))
		case o.kind != remove && !bytes.Equal(value, o.cid):
			return drop(31, "op_cid_mismatch", fmt.Errorf("path %q has %x in the tree, %x in the op", o.path, value, o.cid))
		}
	}
	if absent {
		return errNodeAbsent
	}
	return nil
}

// undo takes the ops back on the tree and returns the root that this gives: deleted
// keys are put back first, so that a subtree is merged with its neighbour only where
// no key stood between them before (which is what honest hosts send nodes for).
func (v *Verifier) undo() ([]byte, error) {
	t := &v.tree
	for i := range v.ops {
		if o := &v.ops[i]; o.kind == remove {
			if err := t.insert(o.path, o.height, o.prev); err != nil {
				return nil, fmt.Errorf("undo delete of %q: %w", o.path, err)
			}
		}
	}
	for i := range v.ops {
		o := &v.ops[i]
		var err error
		switch o.kind {
		case create:
			err = t.remove(o.path, o.height)
		case update:
			err = t.replace(o.path, o.height, o.prev)
		}
		if err != nil {
			return nil, fmt.Errorf("undo %q: %w", o.path, err)
		}
	}
	root := t.rootCID()
	if root == nil {
		return nil, errors.New("no root")
	}
	return root, nil
}
