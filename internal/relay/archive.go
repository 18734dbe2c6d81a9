package relay

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/cistern-archive/cistern/internal/config"
	"github.com/cistern-archive/cistern/internal/disk"
	"github.com/cistern-archive/cistern/internal/metrics"
	"github.com/cistern-archive/cistern/segmentlog"
	"github.com/cistern-archive/cistern/segmentlog/bucket"
	"github.com/cistern-archive/cistern/segmentlog/fetch"
	"github.com/cistern-archive/cistern/segmentlog/ship"
)

const (
	// attachRetry is how long to wait before a store that cannot be reached is tried
	// again at the start.
	attachRetry = 5 * time.Second
	// stopArchive bounds what a shutdown waits for the store.
	stopArchive = 2 * time.Second
	// trimEvery is how often the log is trimmed to its retention.
	trimEvery = 10 * time.Minute
	// cacheFolder holds parts of segments that were read from the archive.
	cacheFolder = "cache"
)

// archive is the relay's side of the archive: its lease, and what ships to it.
type archive struct {
	cfg    config.Archive
	logger *slog.Logger
	reg    prometheus.Registerer

	bucket    bucket.Bucket
	held      *ship.Archive
	shipper   *ship.Shipper
	decisions *ship.Mirror
	disk      *disk.Keeper   // nil before the log is open
	fetcher   *fetch.Fetcher // nil where the archive is a folder

	cancel  context.CancelFunc
	running sync.WaitGroup
}

// attach opens the bucket and makes the data directory its writer. A store that cannot
// be reached is tried until ctx ends: only it knows whose the log is.
func (a *archive) attach(ctx context.Context, cfg *config.Config, numbers string) error {
	a.cfg = cfg.Archive
	if err := a.cfg.Embed(cfg.DataDir); err != nil {
		return err
	}
	for {
		err := a.tryAttach(ctx, cfg, numbers)
		switch kind := bucket.KindOf(err); {
		case err == nil:
			return nil
		case kind != "unavailable" && kind != "timeout":
			return fmt.Errorf("--archive: %w", err)
		}
		a.logger.Error("the archive cannot be reached, and only it knows whose the log is: the start waits for it",
			"err", err, "again_in", attachRetry)
		timer := time.NewTimer(attachRetry)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return fmt.Errorf("--archive: %w", err)
		}
	}
}

func (a *archive) tryAttach(ctx context.Context, cfg *config.Config, numbers string) (err error) {
	if a.bucket == nil {
		b, err := bucket.Open(ctx, a.cfg.URL)
		if err != nil {
			return err
		}
		if err := bucket.Probe(ctx, b); err != nil {
			return errors.Join(err, b.Close())
		}
		a.bucket = b
	}
	a.held, err = ship.Attach(ctx, ship.Options{
		Bucket: a.bucket, Dir: cfg.DataDir, NewStream: a.cfg.NewStream, TakeOver: a.cfg.TakeOver, InitialSeq: cfg.InitialSeq,
		Numbers: numbers, Watch: a.cfg.Watch, Logger: a.logger,
	})
	if err != nil {
		return err
	}
	v := a.held.Inventory()
	if len(v.Foreign) > 0 {
		a.logger.Warn("the archive holds segments that are not of the log: a writer put them there after it was overtaken",
			"segments", len(v.Foreign), "first", v.Foreign[0])
	}
	if _, local := a.bucket.(*bucket.Dir); !local && a.fetcher == nil {
		o := fetch.Options{
			Bucket: a.bucket, Dir: filepath.Join(cfg.DataDir, cacheFolder), CacheBytes: a.cfg.CacheBytes,
			Rate: a.cfg.ReadBytes, Logger: a.logger, Events: metrics.FetchEvents(a.reg),
		}
		if a.fetcher, err = fetch.New(o); err != nil {
			return err
		}
		metrics.CacheGauge(a.reg, a.fetcher.CachedBytes)
	}
	a.logger.Info("archive attached", "archive", a.bucket.String(), "stream", a.held.Stream().ID, "epoch", a.held.Stream().Current().Epoch,
		"segments", len(v.Entries), "through", v.LastSeq())
	return nil
}

// options fills in what the log must know of the archive.
func (a *archive) options(o *segmentlog.Options) {
	o.Stream, o.Archived, o.Ceiling = a.held.Stream(), a.held.Archived(), a.held.Ceiling()
	o.OpenArchived = a.open
	sealed := o.Events.Seal
	o.Events.Seal = func(i segmentlog.SealInfo) {
		sealed(i)
		a.shipper.Wake()
	}
}

// open opens a segment that only the archive has.
func (a *archive) open(s segmentlog.Archived) (segmentlog.ArchivedFile, error) {
	if d, ok := a.bucket.(*bucket.Dir); ok {
		return d.Open(s.Key)
	}
	return a.fetcher.Open(s.Key, s.Size), nil
}

// budget prepares the keeping of the disk budget.
func (a *archive) budget(log *segmentlog.Log, dataDir string) {
	if a.cfg.DiskBytes == 0 {
		return
	}
	dirs := []string{dataDir}
	if d, ok := a.bucket.(*bucket.Dir); ok {
		dirs = append(dirs, d.Path())
	}
	o := disk.Options{Budget: a.cfg.DiskBytes, Dirs: dirs, Log: log, Holds: a.shipper.Holds, Logger: a.logger}
	o.Evicted, o.Paused = metrics.DiskGauges(a.reg, o.Budget, func() int64 { return a.disk.Used() })
	a.disk = disk.NewKeeper(o)
}

// start ships what is sealed, renews the lease, and does more until stop.
func (a *archive) start(log *segmentlog.Log, more ...func(context.Context)) {
	ctx, cancel := context.WithCancel(context.Background())
	a.cancel = cancel
	metrics.ShipGauges(a.reg, a.shipper, time.Now)
	a.running.Go(func() {
		if err := a.shipper.Run(ctx); err != nil && ctx.Err() == nil {
			a.logger.Error("nothing is shipped any more", "err", err)
		}
	})
	a.running.Go(func() { a.held.Keep(ctx, log) })
	a.running.Go(func() { a.decisions.Run(ctx) })
	for _, run := range more {
		a.running.Go(func() { run(ctx) })
	}
	if a.cfg.Retention > 0 {
		a.running.Go(func() { a.trim(ctx) })
	}
	if a.disk != nil {
		a.running.Go(func() { a.disk.Run(ctx) })
	}
}

// trim keeps the log to its retention until ctx ends.
func (a *archive) trim(ctx context.Context) {
	tick := time.NewTicker(trimEvery)
	defer tick.Stop()
	for {
		n, err := a.shipper.Trim(ctx, time.Now().Add(-a.cfg.Retention))
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			a.logger.Warn("the log could not be trimmed; it is tried again", "err", err, "again_in", trimEvery)
		case n > 0:
			a.logger.Info("the log was trimmed", "segments", n, "through", a.held.Stream().TrimmedThrough)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// lost is closed when another holder has the lease; nil, for ever open, before attach.
func (a *archive) lost() <-chan struct{} {
	if a.held == nil {
		return nil
	}
	return a.held.Lost()
}

// release gives the lease back when the archive has all of the log and all decisions:
// else whoever took it would go on without what is only here.
func (a *archive) release(tip uint64) {
	ctx, cancel := context.WithTimeout(context.Background(), stopArchive)
	defer cancel()
	if a.decisions != nil {
		if err := a.decisions.Flush(ctx); err != nil {
			a.logger.Warn("operators' last decisions may not be in the archive: the lease is not given back", "err", err)
			return
		}
	}
	if a.shipper == nil || a.shipper.Through() < tip {
		return
	}
	if err := a.held.Release(ctx, tip); err != nil {
		a.logger.Warn("the lease could not be given back: another machine needs --take-over", "err", err)
	}
}

// stop ends shipping and gives the lease back. tip is the log's end.
func (a *archive) stop(tip uint64) error {
	if a.cancel != nil {
		a.cancel()
		a.running.Wait()
	}
	if a.held == nil {
		return nil
	}
	err := a.held.Err()
	if err == nil {
		a.release(tip)
	}
	return err
}

// close ends all reading.
func (a *archive) close() error {
	var err error
	if a.fetcher != nil {
		err = a.fetcher.Close()
	}
	if a.held != nil {
		err = errors.Join(err, a.held.Close())
	}
	if a.bucket != nil {
		err = errors.Join(err, a.bucket.Close())
	}
	return err
}

// diskUse is what the relay's folders take, and may take; 0 without a budget.
func (a *archive) diskUse() (used, budget int64) {
	if a.disk == nil {
		return 0, 0
	}
	return a.disk.Used(), a.cfg.DiskBytes
}
