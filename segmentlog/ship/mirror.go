package ship

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/cistern-archive/cistern/segmentlog/bucket"
)

// maxMirrored bounds a mirrored file, in bytes.
const maxMirrored = 64 << 20

// Mirror keeps an object of the archive equal to a small file that only grows, such as
// operator.jsonl.
type Mirror struct {
	archive *Archive
	key     string
	read    func() ([]byte, error)
	log     *slog.Logger
	wake    chan struct{}
	version bucket.Version // "" where it is not known
	last    []byte         // what the object holds, nil where it is not known
}

// NewMirror returns a mirror of what read returns at a key; Run it.
func NewMirror(a *Archive, key string, read func() ([]byte, error), log *slog.Logger) *Mirror {
	return &Mirror{archive: a, key: key, read: read, log: log, wake: make(chan struct{}, 1)}
}

// Wake says that the file grew. It never blocks.
func (m *Mirror) Wake() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// Run copies the file at once and after each Wake, until ctx ends or the lease is lost.
func (m *Mirror) Run(ctx context.Context) {
	wait := firstWait
	for {
		err := m.copy(ctx)
		if ctx.Err() != nil || errors.Is(err, ErrOvertaken) {
			return
		}
		var again <-chan time.Time
		var timer *time.Timer
		if err != nil {
			pause := wait/2 + rand.N(wait/2)
			m.log.Warn("a copy in the archive could not be brought up to date; it is tried again", "key", m.key, "err", err, "again_in", pause.Round(time.Millisecond))
			timer = time.NewTimer(pause)
			again, wait = timer.C, min(2*wait, lastWait)
		} else {
			wait = firstWait
		}
		select {
		case <-m.wake:
		case <-again:
		case <-ctx.Done():
		}
		if timer != nil {
			timer.Stop()
		}
	}
}

// Flush copies the file once, after Run has returned.
func (m *Mirror) Flush(ctx context.Context) error { return m.copy(ctx) }

// copy writes the object where it differs.
func (m *Mirror) copy(ctx context.Context) error {
	now, err := m.read()
	if err != nil {
		return err
	}
	if m.last == nil {
		m.last, m.version, err = readMirrored(ctx, m.archive.b, m.key)
		if err != nil {
			return err
		}
	}
	if bytes.Equal(now, m.last) {
		return nil
	}
	if err := m.archive.Check(ctx); err != nil {
		return err
	}
	var info bucket.Info
	if m.version == "" {
		info, err = m.archive.b.Create(ctx, m.key, bucket.BytesBody(now))
	} else {
		info, err = m.archive.b.Replace(ctx, m.key, m.version, bucket.BytesBody(now))
	}
	if err != nil {
		m.last = nil // it may have been written
		return err
	}
	m.last, m.version = now, info.Version
	return nil
}

// ReadMirrored returns what a mirror keeps at a key, nil for nothing.
func ReadMirrored(ctx context.Context, b bucket.Bucket, key string) ([]byte, error) {
	content, version, err := readMirrored(ctx, b, key)
	if err != nil || version == "" {
		return nil, err
	}
	return content, nil
}

func readMirrored(ctx context.Context, b bucket.Bucket, key string) ([]byte, bucket.Version, error) {
	content, info, err := bucket.ReadAll(ctx, b, key, maxMirrored)
	if errors.Is(err, bucket.ErrNotFound) {
		return []byte{}, "", nil
	}
	if err != nil {
		return nil, "", fmt.Errorf("mirror: %w", err)
	}
	return content, info.Version, nil
}
