package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/urfave/cli/v3"

	"github.com/cistern-archive/cistern/internal/archive"
)

func archiveCatCommand() *cli.Command {
	var o archive.CatOptions
	var since, until, seqs string
	var all bool
	return &cli.Command{
		Name: "cat", Usage: "print events as JSON Lines, records decoded", ArgsUsage: placesUsage,
		Flags: []cli.Flag{
			&cli.StringSliceFlag{Name: "did", Usage: "events of this account (repeatable)", Destination: &o.Filter.DIDs},
			&cli.StringSliceFlag{Name: "collection", Usage: "commits with an op in this collection, whole (repeatable)", Destination: &o.Filter.Collections},
			&cli.StringFlag{Name: "since", Usage: "witnessed at or after this `TIME` (RFC 3339)", Destination: &since},
			&cli.StringFlag{Name: "until", Usage: "witnessed before this `TIME` (RFC 3339)", Destination: &until},
			&cli.StringFlag{Name: "seq", Usage: "seqs `A, A-B`, A- or -B, both included", Destination: &seqs},
			&cli.BoolFlag{Name: "with-suppressed", Usage: "also events of accounts that the folder's suppressed.jsonl names", Destination: &all},
			&cli.BoolFlag{Name: "raw", Usage: "frames as they were served, each after its length in 4 bytes, little-endian", Destination: &o.Raw},
		},
		Action: func(ctx context.Context, cmd *cli.Command) error {
			ignoreSIGPIPE()
			var err error
			for _, p := range []struct {
				to   *time.Time
				text string
			}{{&o.Filter.Since, since}, {&o.Filter.Until, until}} {
				if p.text == "" {
					continue
				}
				if *p.to, err = time.Parse(time.RFC3339Nano, p.text); err != nil {
					return fmt.Errorf("a time is like 2026-01-31T12:00:00Z: %w", err)
				}
			}
			if seqs != "" {
				if err := o.Filter.ParseSeqs(seqs); err != nil {
					return err
				}
			}
			o.Warn = func(s string) { fmt.Fprintln(os.Stderr, "cistern:", s) }
			if !all {
				if o.Suppressed, err = archive.ReadSuppressed(cmd.Args().Slice()); err != nil {
					return err
				}
			}
			ctx, stop := untilInterrupted(ctx)
			defer stop()
			src, err := findSegments(ctx, cmd, 0)
			if err != nil {
				return err
			}
			return closedPipe(archive.Cat(ctx, os.Stdout, src, o))
		},
	}
}

// ignoreSIGPIPE makes a write to a closed pipe an error in place of the end of the
// process: see closedPipe.
func ignoreSIGPIPE() { signal.Ignore(syscall.SIGPIPE) }
