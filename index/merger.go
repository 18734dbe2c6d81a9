package index

import (
	"fmt"
	"io"

	"github.com/cockroachdb/pebble/v2"
)

// merger combines operands of the key spaces that are merged. Its name is stored by
// Pebble and is part of the format.
var merger = &pebble.Merger{Name: "cistern.index", Merge: newMerge}

func newMerge(key, value []byte) (pebble.ValueMerger, error) {
	if len(key) > 0 {
		switch key[0] {
		case spaceAccount:
			m := new(accountMerge)
			return m, m.acc.decode(value, nil)
		case spaceHost:
			m := new(hostMerge)
			return m, m.MergeNewer(value)
		}
	}
	return nil, fmt.Errorf("merge of key %q: %w", key, errValue)
}

// accountMerge is a run of operands of one account.
type accountMerge struct {
	acc, operand Account
}

func (m *accountMerge) MergeNewer(value []byte) error {
	if err := m.operand.decode(value, nil); err != nil {
		return err
	}
	m.acc.Merge(&m.operand)
	return nil
}

func (m *accountMerge) MergeOlder(value []byte) error {
	if err := m.operand.decode(value, nil); err != nil {
		return err
	}
	m.operand.Merge(&m.acc)
	m.acc, m.operand = m.operand, m.acc
	return nil
}

func (m *accountMerge) Finish(includesBase bool) ([]byte, io.Closer, error) {
	m.acc.bound(includesBase)
	return m.acc.append(nil), nil, nil
}

// hostMerge is a run of operands of one host; their order does not matter.
type hostMerge struct{ Host }

func (m *hostMerge) MergeNewer(value []byte) error {
	var h Host
	if err := h.decode(value); err != nil {
		return err
	}
	m.Raise(h.Epoch, h.Cursor)
	return nil
}

func (m *hostMerge) MergeOlder(value []byte) error { return m.MergeNewer(value) }

func (m *hostMerge) Finish(bool) ([]byte, io.Closer, error) {
	return m.Host.append(nil), nil, nil
}
