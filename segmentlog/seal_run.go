package segmentlog

import (
	"context"
	"slices"
	"time"
)

// runSealer seals closed hot files, oldest first, until ctx ends. A seal that
// fails is tried again: the hot file stays and is served meanwhile.
func (l *Log) runSealer(ctx context.Context) {
	defer close(l.sealerDone)
	wait := sealRetry
	for {
		h := l.nextToSeal()
		if h == nil {
			select {
			case <-l.sealWake:
				continue
			case <-ctx.Done():
				return
			}
		}
		err := l.sealOne(ctx, h)
		if err == nil {
			wait = sealRetry
			continue
		}
		if ctx.Err() != nil {
			return
		}
		l.opts.Logger.Error("a hot file could not be sealed; it stays and is served, and sealing is tried again",
			"file", h.path, "err", err, "again_in", wait)
		l.opts.Events.SealFailed(h.path, err)
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
		wait = min(2*wait, sealRetryMax)
	}
}

// nextToSeal returns the oldest closed hot file, nil when there is none.
func (l *Log) nextToSeal() *hotFile {
	for _, p := range *l.files.Load() {
		if h, ok := p.(*hotFile); ok && h.complete() {
			return h
		}
	}
	return nil
}

// sealOne seals h, shows the segment to readers in its place, and removes it.
// Readers that have it open go on with what they have.
func (l *Log) sealOne(ctx context.Context, h *hotFile) error {
	began := l.now()
	s, footer, err := l.sealer.seal(ctx, h)
	if err != nil {
		return err
	}
	l.changeFiles(func(files []part) []part {
		files[slices.Index(files, part(h))] = s
		return files
	})
	l.opts.Events.Seal(SealInfo{
		Name: s.name, Path: s.path, Records: footer.Count, Raw: h.end.Load(), Size: s.size, Duration: l.now().Sub(began),
	})
	return l.opts.FS.Remove(h.path)
}

// changeFiles replaces the list of files by what change makes of a copy of it.
func (l *Log) changeFiles(change func([]part) []part) {
	l.filesMu.Lock()
	defer l.filesMu.Unlock()
	files := change(slices.Clone(*l.files.Load()))
	l.files.Store(&files)
}

// wakeSealer says that a hot file may be closed.
func (l *Log) wakeSealer() {
	select {
	case l.sealWake <- struct{}{}:
	default:
	}
}
