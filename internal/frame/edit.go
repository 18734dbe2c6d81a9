package frame

import (
	"bytes"
	"slices"

	"github.com/cistern-archive/cistern/segmentlog/dagcbor"
)

// edit changes the value of one key of a canonical map.
type edit struct {
	key string
	// change appends the new value, given the old one (nil when the key is absent
	// and add is set). Appending nothing removes the pair, as a nil change does.
	change func(dst, old []byte) ([]byte, error)
	add    bool // apply it to a map that lacks the key too
}

// put is a change to a fixed value.
func put(value []byte) func(dst, old []byte) ([]byte, error) {
	return func(dst, _ []byte) ([]byte, error) { return append(dst, value...), nil }
}

// editFrame returns a canonical frame with its payload edited.
func editFrame(raw []byte, edits []edit) ([]byte, error) {
	r := dagcbor.Reader{Buf: raw}
	if err := r.Skip(); err != nil {
		return nil, err
	}
	dst := append(make([]byte, 0, len(raw)+64), raw[:r.Off]...)
	return editMap(dst, raw[r.Off:], edits)
}

// editMap appends the canonical map m, edited, to dst. Edits are in the order of
// keys; every pair that no edit names keeps its bytes.
func editMap(dst, m []byte, edits []edit) ([]byte, error) {
	r := dagcbor.Reader{Buf: m}
	n, err := r.Map()
	if err != nil {
		return nil, err
	}
	start, pairs := len(dst), 0
	for ; n > 0; n-- {
		at := r.Off
		key, err := r.Text()
		if err != nil {
			return nil, err
		}
		value := r.Off
		if err := r.SkipAt(1); err != nil {
			return nil, err
		}
		for len(edits) > 0 && dagcbor.CompareKeys([]byte(edits[0].key), key) < 0 {
			if dst, err = edits[0].absent(dst, &pairs); err != nil {
				return nil, err
			}
			edits = edits[1:]
		}
		if len(edits) == 0 || !bytes.Equal([]byte(edits[0].key), key) {
			dst = append(dst, m[at:r.Off]...)
			pairs++
			continue
		}
		if dst, err = edits[0].apply(dst, m[value:r.Off], &pairs); err != nil {
			return nil, err
		}
		edits = edits[1:]
	}
	for _, e := range edits {
		if dst, err = e.absent(dst, &pairs); err != nil {
			return nil, err
		}
	}
	var head [9]byte
	return slices.Insert(dst, start, dagcbor.AppendHead(head[:0], dagcbor.MajorMap, uint64(pairs))...), nil
}

// absent handles an edit whose key the map lacks.
func (e edit) absent(dst []byte, pairs *int) ([]byte, error) {
	if !e.add {
		return dst, nil
	}
	return e.apply(dst, nil, pairs)
}

// apply appends the edited pair, if the change leaves one.
func (e edit) apply(dst, old []byte, pairs *int) ([]byte, error) {
	if e.change == nil {
		return dst, nil
	}
	at := len(dst)
	dst = dagcbor.AppendText(dst, e.key)
	value := len(dst)
	dst, err := e.change(dst, old)
	if err != nil {
		return nil, err
	}
	if len(dst) == value {
		return dst[:at], nil
	}
	*pairs++
	return dst, nil
}
