package derive

import (
	"context"
	"errors"
	"hash/maphash"
	"io"
	"time"

	"github.com/cistern-archive/cistern/index"
	"github.com/cistern-archive/cistern/segmentlog"
)

const (
	// foldEvents bounds the records of a fold, and so its memory: about as many as a
	// block of a segment has.
	foldEvents = 1024
	// batchBytes is when a batch is committed.
	batchBytes = 1 << 20
	// syncedLately is how old a #sync may be that somebody is told of: an index that is made
	// anew goes through all there ever were.
	syncedLately = time.Hour
)

// applyFrom applies everything that is durable after the reader's position.
func (f *Follower) applyFrom(ctx context.Context, reader *segmentlog.Reader) error {
	var rec segmentlog.Record
	for ctx.Err() == nil {
		fold := newFold()
		var err error
		for fold.events < foldEvents {
			if err = reader.Next(&rec); err != nil {
				break
			}
			fold.add(&rec)
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if fold.events > 0 {
			if err := f.apply(ctx, fold); err != nil {
				return err
			}
		}
		if err != nil || fold.events < foldEvents {
			return f.commit(ctx)
		}
	}
	return ctx.Err()
}

// apply writes the next fold, and commits when a batch is full.
func (f *Follower) apply(ctx context.Context, fold *fold) error {
	f.metrics.events.Add(float64(fold.events))
	if fold.bad > 0 {
		f.metrics.unreadable.Add(float64(fold.bad))
		f.opts.Logger.Error("the log has records whose frames cannot be read; they count for their marks and cursors only",
			"records", fold.bad, "up_to_seq", fold.lastSeq, "first", fold.badErr)
	}
	f.synced = append(f.synced, fold.synced...)
	if f.writer.add(fold); f.writer.batch.Bytes() < batchBytes {
		return nil
	}
	return f.commit(ctx)
}

// commit makes what was applied visible.
func (f *Follower) commit(ctx context.Context) error {
	applied, err := f.writer.commit(ctx)
	if err != nil {
		f.writeFailed = true
		return err
	}
	if applied == 0 {
		return nil
	}
	f.metrics.applied.Set(float64(applied))
	lately := time.Now().Add(-syncedLately).UnixMicro()
	for _, s := range f.synced {
		if s.witnessed >= lately {
			f.opts.Synced(s.did)
		}
	}
	f.synced = f.synced[:0]
	f.moved(false)
	return nil
}

// writer puts folds, in order, into batches.
type writer struct {
	index   *index.Index
	batch   *index.Batch // nil when nothing is to be committed
	lastSeq uint64

	lastSecond uint64 // the newest that the index has
	anySecond  bool

	seed  maphash.Seed
	known []uint64 // collections of accounts that were written lately, by their hash
}

// knownCollections bounds the memory for collections that need not be written again:
// 2 MiB.
const knownCollections = 1 << 18

func (w *writer) add(f *fold) {
	if w.batch == nil {
		w.batch = w.index.NewBatch()
	}
	w.lastSeq = f.lastSeq
	for did, a := range f.accounts {
		w.batch.Account(did, a)
	}
	for _, h := range f.hosts {
		w.batch.Host(h)
	}
	for c := range f.uses {
		if !w.isKnown(c) {
			w.batch.Collection(c.name, c.did)
		}
	}
	for _, t := range f.times {
		if !w.anySecond || t.at > w.lastSecond {
			w.batch.Time(t.at, t.seq)
			w.lastSecond, w.anySecond = t.at, true
		}
	}
}

// isKnown says whether the key was written since the program started, and remembers it.
func (w *writer) isKnown(c collection) bool {
	if w.known == nil {
		w.seed, w.known = maphash.MakeSeed(), make([]uint64, knownCollections)
	}
	h := maphash.Comparable(w.seed, c)
	slot := &w.known[h%knownCollections]
	if *slot == h {
		return true
	}
	*slot = h
	return false
}

// close drops what is not committed.
func (w *writer) close() {
	if w.batch != nil {
		w.batch.Close()
		w.batch = nil
	}
}

// commit returns the new watermark, 0 when there was nothing to commit.
func (w *writer) commit(ctx context.Context) (applied uint64, err error) {
	b := w.batch
	if b == nil {
		return 0, nil
	}
	w.batch = nil
	return w.lastSeq, b.Commit(ctx, w.lastSeq)
}
