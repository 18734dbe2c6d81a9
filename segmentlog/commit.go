package segmentlog

import (
	"fmt"
	"time"
)

// run is the committer: it writes what is pending, again and again, each time
// with one write and one fsync.
func (l *Log) run() {
	defer close(l.stopped)
	for {
		batch, last := l.take()
		if batch != nil {
			if err := l.commit(batch); err != nil {
				l.fail(err)
				return
			}
			l.spare = batch
		}
		if err := l.rotateByAge(); err != nil {
			l.fail(err)
			return
		}
		if last {
			if err := l.finish(); err != nil {
				l.fail(err)
			}
			return
		}
	}
}

// take waits for pending records, or for the hot file to be due for sealing, and
// returns what is pending. last is true when the log was closed: nothing can follow.
func (l *Log) take() (batch *pendingBatch, last bool) {
	for {
		l.mu.Lock()
		last = l.err != nil
		if !l.pending.empty() {
			batch, l.pending = l.pending, l.spare
			l.spare = nil
			l.pending.reset()
			l.room.Broadcast()
		}
		l.mu.Unlock()
		if batch != nil || last {
			return batch, last
		}
		var due <-chan time.Time
		if l.age != nil {
			due = l.age.C
		}
		select {
		case <-l.wake:
		case <-due:
			l.aged = true
			return nil, false
		}
	}
}

// rotateByAge closes the hot file when it is due for sealing.
func (l *Log) rotateByAge() error {
	if !l.aged {
		return nil
	}
	l.aged = false
	if l.writer == nil || l.writer.spoiled || l.writer.count.Load() == 0 {
		return nil
	}
	if err := l.rotate(); err != nil && !isNoSpace(err) { // on a full disk the next write sees to it
		return err
	}
	return nil
}

// setWriter makes w the file that is written, nil for none.
func (l *Log) setWriter(w *hotWriter) {
	l.writer = w
	if l.age != nil {
		l.age.Stop()
		l.age = nil
	}
	if w != nil && l.opts.SegmentAge > 0 {
		l.age = time.NewTimer(l.opts.SegmentAge)
	}
}

// fail stops the log for good. Nothing of the batch that failed was published.
func (l *Log) fail(err error) {
	l.opts.Logger.Error("the log cannot be written", "err", err)
	l.mu.Lock()
	l.err = err
	l.room.Broadcast()
	l.mu.Unlock()
	close(l.failed)
}

// commit makes a batch durable and publishes it.
func (l *Log) commit(b *pendingBatch) error {
	began := l.now()
	for {
		err := l.write(b)
		if err == nil {
			break
		}
		if !isNoSpace(err) {
			return err
		}
		if err := l.pause(err); err != nil {
			return err
		}
	}
	if l.noSpaceIs {
		l.noSpaceIs = false
		l.opts.Logger.Info("there is space again, writing goes on")
		l.opts.Events.SpaceBack()
	}
	l.publish(b, l.now().Sub(began))
	return nil
}

// write appends b to the hot file, beginning a new one where it must.
func (l *Log) write(b *pendingBatch) error {
	if err := l.reserve(b.lastSeq()); err != nil {
		return err
	}
	if l.writer != nil && l.writer.spoiled {
		if err := l.replaceWriter(); err != nil {
			return err
		}
	}
	if w := l.writer; w != nil && w.count.Load() > 0 && w.size+int64(len(b.buf)) > l.opts.MaxHotBytes {
		if err := l.rotate(); err != nil {
			return err
		}
	}
	if l.writer == nil {
		if err := l.begin(b.firstSeq()); err != nil {
			return err
		}
	}
	return l.writer.appendBatch(b.buf)
}

// begin creates the next hot file. Readers see it when its first batch is durable.
func (l *Log) begin(firstSeq uint64) error {
	h := Header{Stream: l.stream.ID, Epoch: l.stream.Current().Epoch, FirstSeq: firstSeq, FirstLeaf: l.leaves, Salt: newSalt()}
	w, err := createHot(l.opts.FS, l.opts.FS.PathJoin(l.dir, hotName(h.Epoch, firstSeq)), h)
	if err != nil {
		return fmt.Errorf("create hot file: %w", err)
	}
	if err := SyncDir(l.opts.FS, l.dir); err != nil {
		_ = w.f.Close() // the sync's error says more
		return fmt.Errorf("create hot file: %w", err)
	}
	l.setWriter(w)
	return nil
}

// rotate closes the hot file; the next batch begins another.
func (l *Log) rotate() error {
	w := l.writer
	if err := w.close(); err != nil {
		return err
	}
	l.setWriter(nil)
	l.opts.Events.Rotate(w.path)
	l.wakeSealer()
	return nil
}

// publish shows a durable batch to readers, then to OnCommit.
func (l *Log) publish(b *pendingBatch, took time.Duration) {
	w := l.writer
	newborn := w.count.Load() == 0
	w.noteBatch(w.end.Load(), b)
	w.advance(b.lastSeq(), len(b.refs))
	if newborn {
		l.changeFiles(func(files []part) []part { return append(files, w.hotFile) })
	}
	l.leaves += uint64(len(b.refs))
	l.oldest.CompareAndSwap(0, b.firstSeq())
	l.tip.Store(b.lastSeq())
	l.mu.Lock()
	if l.waiting = l.now(); l.pending.empty() {
		l.waiting = time.Time{}
	}
	l.mu.Unlock()
	l.opts.OnCommit(Batch{buf: b.buf, refs: b.refs})
	l.opts.Events.Commit(CommitInfo{Events: len(b.refs), Bytes: len(b.buf), Duration: took})
}

// pause is called when the disk is full: it cuts the hot file back to what is
// durable and waits. It returns an error when the log is closed meanwhile.
func (l *Log) pause(cause error) error {
	if w := l.writer; w != nil && w.spoiled {
		if err := w.cutBack(); err != nil {
			return err
		}
	}
	if !l.noSpaceIs {
		l.noSpaceIs = true
		l.opts.Logger.Error("the disk is full: intake is paused, serving goes on; free some space", "dir", l.opts.Dir, "err", cause)
		l.opts.Events.NoSpace(cause)
	}
	timer := time.NewTimer(l.opts.RetryNoSpace)
	defer timer.Stop()
	for l.Err() == nil {
		select {
		case <-timer.C:
			return nil
		case <-l.wake:
		}
	}
	return fmt.Errorf("closed while the disk was full; what waited will be read again from the hosts: %w", cause)
}

// replaceWriter gives up the hot file in which a write failed for want of space:
// it is closed at its durable end, or removed when it holds nothing.
func (l *Log) replaceWriter() error {
	w := l.writer
	if w.count.Load() == 0 {
		_ = w.f.Close() // nothing is in it
		if err := l.opts.FS.Remove(w.path); err != nil {
			return fmt.Errorf("remove empty hot file: %w", err)
		}
		l.setWriter(nil)
		return nil
	}
	return l.rotate()
}

// finish ends a clean shutdown.
func (l *Log) finish() error {
	if l.writer != nil {
		if err := l.rotate(); err != nil {
			return err
		}
	}
	l.mu.Lock()
	next := l.next
	l.mu.Unlock()
	r := reservation{Epoch: l.stream.Current().Epoch, Through: l.through(), Next: next, Last: l.Tip()}
	return r.write(l.opts.FS, l.opts.Dir)
}
