package ledger

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/cistern-archive/cistern/index/disposable"
)

// Memory of the store, in bytes: an hour of 3,000 hosts is half a megabyte.
const (
	storeCache    = 4 << 20
	storeMemTable = 4 << 20
)

// keeper has the store, opens it when it can be opened, and says when storing begins
// and ceases to fail. It is used under Ledger.moving.
type keeper struct {
	opts    *Options
	store   *disposable.Store // nil while none is open
	failing bool
	expired int64 // hours before this were deleted
}

func (k *keeper) init(opts *Options) {
	k.opts = opts
	_, err := k.open()
	k.say(err)
}

// open returns the store, opening it when it is not open. Both are nil when there is
// to be none. A store that was found damaged is set aside, and a new one begun.
func (k *keeper) open() (*disposable.Store, error) {
	if k.opts.Dir == "" {
		return nil, nil
	}
	if k.store != nil {
		err := k.store.Err()
		if !errors.Is(err, disposable.ErrCorrupt) {
			return k.store, err
		}
		_ = k.store.Close() // it says again what is wrong
		k.store = nil
	}
	s, err := disposable.Open(disposable.Options{
		Dir: k.opts.Dir, Name: "ledger", FS: k.opts.FS, Logger: k.opts.Logger, SetAside: k.opts.Dir + ".damaged-" + k.opts.Now().UTC().Format("20060102T150405Z"),
		CacheBytes: storeCache, MemTableBytes: storeMemTable, Deletes: true,
	})
	if err != nil {
		return nil, err
	}
	k.store, k.expired = s, 0
	return s, nil
}

// say logs when storing begins to fail, and when it goes on.
func (k *keeper) say(err error) {
	switch {
	case err != nil && !k.failing:
		k.opts.Logger.Warn("the ledger cannot be stored; counting goes on in memory", "dir", k.opts.Dir, "err", err)
	case err == nil && k.failing:
		k.opts.Logger.Info("the ledger can be stored again", "dir", k.opts.Dir)
	}
	k.failing = err != nil
}

// expire deletes what is older than the retention, when an hour has passed since.
func (k *keeper) expire(b *pebble.Batch, hour int64) (int64, error) {
	if k.opts.Retention < 0 {
		return k.expired, nil
	}
	first := max(hour-int64(k.opts.Retention/time.Hour), 0)
	if first <= k.expired {
		return k.expired, nil
	}
	return first, b.DeleteRange(appendKey(nil, 0, ""), appendKey(nil, first, ""), nil)
}

// get returns a stored row, nil when there is none or when it cannot be read.
func (k *keeper) get(hour int64, host string) (row *Row, err error) {
	_, err = k.store.Get(appendKey(nil, hour, host), func(value []byte) error {
		r := &Row{Host: host, Hour: hour}
		if err := decodeRow(value, r); err != nil {
			k.unreadable(r, err)
			return nil
		}
		row = r
		return nil
	})
	return row, err
}

// unreadable notes a row that cannot be read: of a newer version, or damaged in a way
// that checksums do not show.
func (k *keeper) unreadable(r *Row, err error) {
	k.opts.Logger.Warn("a row of the ledger cannot be read and is left out", "host", r.Host, "hour", r.Start(), "err", err)
}

// commit makes a batch durable soon.
func (k *keeper) commit(ctx context.Context, b *pebble.Batch) error {
	if err := k.store.Commit(ctx, b); err != nil {
		return fmt.Errorf("ledger: %w", err)
	}
	return k.store.Persist(ctx)
}

func (k *keeper) close() error {
	if k.store == nil {
		return nil
	}
	s := k.store
	k.store = nil
	return s.Close()
}
