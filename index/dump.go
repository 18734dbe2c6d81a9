package index

import (
	"bytes"
	"context"
	"errors"
	"fmt"
)

// Schema is the number of the layout of keys and values: what was dumped with another
// cannot be filled in.
const Schema = schemaVersion

// fillBytes is how large a batch of Fill grows.
const fillBytes = 4 << 20

// Dump calls f with every key and value that comes from the log, in order, as of one
// instant, and returns the watermark of that instant. What f is given lives until it
// returns. Segments and blocks, a memory of files, are left out.
func (x *Index) Dump(ctx context.Context, f func(key, value []byte) error) (applied uint64, err error) {
	n := 0
	err = x.each(keys{}, func(key, value []byte) error {
		if n++; n%4096 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		switch key[0] {
		case spaceSegment, spaceBlock:
			return nil
		case spaceMeta:
			if bytes.Equal(key, metaKey(metaApplied)) {
				d := decoder{b: value}
				applied = d.uint()
				return d.done()
			}
			return nil
		}
		return f(key, value)
	})
	return applied, err
}

// KeyDID returns the DID that a key of Dump is about, nil for those of no account.
func KeyDID(key []byte) []byte {
	switch key[0] {
	case spaceAccount:
		return key[1:]
	case spaceCollection:
		if _, did, ok := bytes.Cut(key[1:], []byte{0}); ok {
			return did
		}
	}
	return nil
}

// Bytes is about how much disk the index takes.
func (x *Index) Bytes() int64 { return x.store.Bytes() }

// errFilled: Fill wants an empty index.
var errFilled = errors.New("the index holds something already")

// Fill fills an empty index with what was dumped at a watermark. next returns the keys and
// values, in any order, and a nil key at their end. After an error the index is good for
// nothing: remove it. Its watermark is set last.
func (x *Index) Fill(ctx context.Context, applied uint64, next func() (key, value []byte, err error)) error {
	if x.Applied() > 0 || applied == 0 {
		return fmt.Errorf("index: fill to seq %d: %w", applied, errFilled)
	}
	for more := true; more; {
		b := x.NewBatch()
		for b.Bytes() < fillBytes {
			key, value, err := next()
			if err != nil {
				b.Close()
				return err
			}
			if more = key != nil; !more {
				break
			}
			if !fillable(key) {
				b.Close()
				return fmt.Errorf("index: fill: %w: a key of no space", errValue)
			}
			b.note(b.b.Set(key, value, nil))
		}
		if err := b.commit(ctx); err != nil {
			b.Close()
			return err
		}
		b.Close()
	}
	return x.NewBatch().Commit(ctx, applied)
}

func fillable(key []byte) bool {
	switch key[0] {
	case spaceAccount, spaceCollection, spaceHost, spaceCrawl, spaceTime:
		return len(key) > 1
	}
	return false
}
