package index

import (
	"context"
	"encoding/binary"
	"fmt"
)

// schemaVersion numbers the layout of keys and values. Raise it with any change of
// them: indexes of another number are rebuilt.
const schemaVersion = 2

// The keys of the meta space. Part of the format.
const (
	metaSchema  = "schema"  // uvarint
	metaStream  = "stream"  // text: the id of the log
	metaApplied = "applied" // uvarint: the watermark, the last seq that is applied
)

func metaKey(name string) []byte { return append([]byte{spaceMeta}, name...) }

func (b *Batch) number(name string, v uint64) {
	b.set(metaKey(name), "", binary.AppendUvarint(b.value[:0], v))
}

// meta is what an index says of itself.
type meta struct {
	found           bool // false: nothing was ever written
	schema, applied uint64
	stream          string
}

func (x *Index) readMeta() (m meta, err error) {
	number := func(name string) (v uint64) {
		if err != nil {
			return 0
		}
		var found bool
		found, err = x.get(metaKey(name), func(value []byte) error {
			d := decoder{b: value}
			v = d.uint()
			return d.done()
		})
		m.found = m.found || found
		return v
	}
	m.schema, m.applied = number(metaSchema), number(metaApplied)
	if err == nil {
		_, err = x.get(metaKey(metaStream), func(value []byte) error {
			m.stream = string(value)
			return nil
		})
	}
	return m, err
}

// fit says why an index is not one of this log, nil when it is.
func (m *meta) fit(o *Options) error {
	switch {
	case m.schema != schemaVersion:
		return fmt.Errorf("its layout is number %d, this program's is %d", m.schema, schemaVersion)
	case m.stream != o.Stream:
		return fmt.Errorf("it is of stream %q, the log is %q", m.stream, o.Stream)
	case m.applied > o.Tip:
		return fmt.Errorf("it is ahead of the log: it applied seq %d, the log ends at %d", m.applied, o.Tip)
	}
	for i, e := range o.Epochs {
		if i > 0 && m.applied > e.PrevLastSeq && m.applied < e.FirstSeq {
			return fmt.Errorf("it applied seq %d, which epoch %d of the log left out", m.applied, e.Epoch)
		}
	}
	return nil
}

// initialise writes what a new index says of itself.
func (x *Index) initialise(ctx context.Context) error {
	b := x.NewBatch()
	defer b.Close()
	b.number(metaSchema, schemaVersion)
	b.set(metaKey(metaStream), "", []byte(x.opts.Stream))
	return b.commit(ctx)
}
