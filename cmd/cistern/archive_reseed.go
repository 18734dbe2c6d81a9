package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/mattn/go-isatty"
	"github.com/urfave/cli/v3"

	"github.com/cistern-archive/cistern/internal/config"
	"github.com/cistern-archive/cistern/segmentlog"
	"github.com/cistern-archive/cistern/segmentlog/bucket"
	"github.com/cistern-archive/cistern/segmentlog/ship"
)

func archiveReseedCommand() *cli.Command {
	var cfg config.Config
	var dir, url string
	return &cli.Command{
		Name: "reseed", Usage: "upload what a data directory holds into an empty archive, in place of one that was lost; the relay must not run",
		Flags: append(cfg.CommonFlags(),
			&cli.StringFlag{Name: "data-dir", Usage: "the `FOLDER` of the log", Value: "./data", Destination: &dir},
			&cli.StringFlag{Name: "archive", Usage: "the empty archive: file:///folder or s3://bucket/prefix?…", Required: true, Destination: &url},
		),
		Action: func(ctx context.Context, cmd *cli.Command) error {
			if cmd.Args().Present() {
				return fmt.Errorf("reseed takes no arguments, only flags: %q", cmd.Args().First())
			}
			ctx, stop := untilInterrupted(ctx)
			defer stop()
			b, err := bucket.Open(ctx, url)
			if err != nil {
				return err
			}
			return errors.Join(archiveReseed(ctx, &cfg, b, dir), b.Close())
		},
	}
}

// archiveReseed ships every sealed segment, what the last run left hot included.
func archiveReseed(ctx context.Context, cfg *config.Config, b bucket.Bucket, dir string) (err error) {
	logger, err := cfg.Logger()
	if err != nil {
		return err
	}
	if err := bucket.Probe(ctx, b); err != nil {
		return err
	}
	a, err := ship.Attach(ctx, ship.Options{Bucket: b, Dir: dir, Reseed: true, Logger: logger})
	if err != nil {
		return fmt.Errorf("archive reseed: %w", err)
	}
	defer func() { err = errors.Join(err, a.Close()) }()
	sealed := make(chan struct{}, 1)
	o := segmentlog.Options{Dir: dir, Logger: logger, Stream: a.Stream(), Archived: a.Archived(), Ceiling: a.Ceiling(), Seal: &segmentlog.SegmentOptions{}}
	o.OpenArchived = func(s segmentlog.Archived) (segmentlog.ArchivedFile, error) {
		return nil, fmt.Errorf("%s: %w", s.Key, bucket.ErrNotFound) // nothing is evicted here
	}
	o.Events.Seal = func(segmentlog.SealInfo) {
		select {
		case sealed <- struct{}{}:
		default:
		}
	}
	log, err := segmentlog.Open(o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	for log.Closed() > 0 { // what was hot is sealed first
		select {
		case <-sealed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return reseed(ctx, cfg, a, log)
}

// reseed ships what is sealed, with progress, and gives the lease back to the directory.
func reseed(ctx context.Context, cfg *config.Config, a *ship.Archive, log *segmentlog.Log) error {
	logger, err := cfg.Logger()
	if err != nil {
		return err
	}
	var total, done int64
	files := log.Sealed(0)
	for _, f := range files {
		total += f.Size
	}
	if len(files) == 0 {
		fmt.Println("the archive was begun; there is no segment to upload yet")
		return nil
	}
	fd := os.Stderr.Fd()
	bar := newShared(&progressBar{w: os.Stderr, terminal: isatty.IsTerminal(fd) || isatty.IsCygwinTerminal(fd), now: time.Now})
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	last := files[len(files)-1].Name.LastSeq
	all := false
	s := ship.NewShipper(ship.ShipperOptions{Archive: a, Log: log, Logger: logger, Events: ship.ShipperEvents{
		Shipped: func(e ship.Entry, _ time.Duration) {
			done += e.Bytes
			bar.set(done, total)
			if e.Name.LastSeq == last {
				all = true
				cancel()
			}
		},
	}})
	if s.Through() < last {
		err = s.Run(ctx)
	}
	bar.clear()
	if !all && s.Through() < last {
		return fmt.Errorf("archive reseed: %d of %d bytes: %w; run it again to go on", done, total, err)
	}
	fmt.Printf("%d segments, %s, up to seq %d are in the archive\n", len(files), bytesText(total), last)
	return nil
}
