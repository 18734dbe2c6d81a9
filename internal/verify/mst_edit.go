package verify

import (
	"bytes"
	"errors"
	"slices"
)

// Errors of editing that a checked event cannot cause: T31 looked the ops up before.
var (
	errKeyPresent = errors.New("key is in the tree already")
	errKeyMissing = errors.New("key is not in the tree")
)

// insert puts a key into the tree, adding layers on top when the key belongs above
// the root.
func (t *tree) insert(key []byte, height int, value []byte) error {
	if t.root.absent() {
		return errNodeAbsent
	}
	if t.root.none() || t.root.node.empty() {
		t.root = link{}
	} else {
		for t.root.node.height < height {
			top := t.newNode(t.root.node.height + 1)
			top.left, top.dirty = t.root, true
			t.root = link{node: top}
		}
	}
	at := height
	if t.root.node != nil {
		at = t.root.node.height
	}
	root, err := t.insertAt(t.root, at, entry{key: key, value: value}, height)
	t.root = root
	return err
}

// insertAt puts an entry of layer height into the subtree l of layer at.
func (t *tree) insertAt(l link, at int, e entry, height int) (link, error) {
	if l.absent() {
		return l, errNodeAbsent
	}
	n := l.node
	if l.none() {
		n = t.newNode(at)
	}
	n.dirty = true
	i, found := n.search(e.key)
	if at > height {
		child, err := t.insertAt(n.gap(i), at-1, e, height)
		n.setGap(i, child)
		return link{node: n}, err
	}
	if found {
		return l, errKeyPresent
	}
	left, right, err := t.split(n.gap(i), e.key)
	if err != nil {
		return l, err
	}
	n.setGap(i, left)
	e.right = right
	n.entries = t.insertEntry(n.entries, i, e)
	return link{node: n}, nil
}

// split parts a subtree into what is below and what is above a key that is not in
// it. A subtree that lies wholly on one side is handed back as it is.
func (t *tree) split(l link, key []byte) (below, above link, err error) {
	if l.none() {
		return link{}, link{}, nil
	}
	if l.absent() {
		return link{}, link{}, errNodeAbsent
	}
	n := l.node
	i, found := n.search(key)
	if found {
		return link{}, link{}, errKeyPresent
	}
	left, right, err := t.split(n.gap(i), key)
	switch {
	case err != nil:
		return link{}, link{}, err
	case i == 0 && left.none():
		return link{}, l, nil
	case i == len(n.entries) && right.none():
		return l, link{}, nil
	}
	upper := t.newNode(n.height)
	upper.left, upper.entries, upper.dirty = right, n.entries[i:], true
	n.entries = n.entries[:i:i]
	n.setGap(i, left)
	n.dirty = true
	return link{node: n}, link{node: upper}, nil
}

// replace gives a key another value.
func (t *tree) replace(key []byte, height int, value []byte) error {
	l := t.root
	for {
		if l.none() {
			return errKeyMissing
		}
		if l.absent() {
			return errNodeAbsent
		}
		n := l.node
		n.dirty = true
		i, found := n.search(key)
		if n.height <= height {
			if !found {
				return errKeyMissing
			}
			n.entries[i].value = value
			return nil
		}
		l = n.gap(i)
	}
}

// remove takes a key out of the tree. A root without entries is left as it is: the
// whole is trimmed once, by rootCID.
func (t *tree) remove(key []byte, height int) error {
	root, err := t.removeFrom(t.root, key, height)
	t.root = root
	return err
}

func (t *tree) removeFrom(l link, key []byte, height int) (link, error) {
	if l.none() {
		return l, errKeyMissing
	}
	if l.absent() {
		return l, errNodeAbsent
	}
	n := l.node
	n.dirty = true
	i, found := n.search(key)
	switch {
	case n.height > height:
		child, err := t.removeFrom(n.gap(i), key, height)
		if err != nil {
			return l, err
		}
		n.setGap(i, child)
	case !found:
		return l, errKeyMissing
	default:
		joined, err := t.merge(n.gap(i), n.entries[i].right)
		if err != nil {
			return l, err
		}
		n.entries = slices.Delete(n.entries, i, i+1)
		n.setGap(i, joined)
	}
	if n.empty() {
		return link{}, nil
	}
	return l, nil
}

// merge joins two neighbouring subtrees of one layer. Both must be known where they
// touch, but only if both exist.
func (t *tree) merge(a, b link) (link, error) {
	switch {
	case a.none():
		return b, nil
	case b.none():
		return a, nil
	case a.absent() || b.absent():
		return link{}, errNodeAbsent
	}
	n := a.node
	joined, err := t.merge(n.gap(len(n.entries)), b.node.left)
	if err != nil {
		return link{}, err
	}
	n.setGap(len(n.entries), joined)
	n.entries = t.appendEntries(n.entries, b.node.entries)
	n.dirty = true
	return link{node: n}, nil
}

// insertEntry and appendEntries are slices.Insert and append in the arena. Growing
// doubles, so that merging one node over and over stays linear.
func (t *tree) insertEntry(s []entry, i int, e entry) []entry {
	s = t.grow(s, 1)
	s = s[:len(s)+1]
	copy(s[i+1:], s[i:])
	s[i] = e
	return s
}

func (t *tree) appendEntries(s, more []entry) []entry {
	return append(t.grow(s, len(more)), more...)
}

func (t *tree) grow(s []entry, more int) []entry {
	if cap(s)-len(s) >= more {
		return s
	}
	grown := t.newEntries(len(s), max(2*len(s), len(s)+more, 4))
	copy(grown, s)
	return grown
}

// trim takes off top layers that only point to a child.
func (t *tree) trim() {
	for t.root.node != nil && len(t.root.node.entries) == 0 && !t.root.node.left.none() {
		t.root = t.root.node.left
	}
}

// rootCID trims the tree and returns its root's CID, rehashing what changed.
func (t *tree) rootCID() []byte {
	t.trim()
	if t.root.none() {
		return emptyTree[:]
	}
	return t.cidOf(t.root)
}

// isEmptyTree says whether a root is that of the tree without keys.
func isEmptyTree(root []byte) bool { return bytes.Equal(root, emptyTree[:]) }
