package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/mattn/go-isatty"
	"github.com/urfave/cli/v3"

	"github.com/cistern-archive/cistern/internal/archive"
	"github.com/cistern-archive/cistern/internal/pull"
	"github.com/cistern-archive/cistern/segmentlog"
)

func archivePullCommand() *cli.Command {
	var o pull.Options
	var from, since, until, seqs string
	return &cli.Command{
		Name: "pull", Usage: "take an archive, or a part of it, away into a folder; run it again for what is new",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "from", Usage: "http(s)://relay, s3://bucket/prefix?…, file:///folder or a `FOLDER`", Required: true, Destination: &from},
			&cli.StringFlag{Name: "out", Usage: "the `FOLDER` to fill", Required: true, Destination: &o.Out},
			&cli.StringFlag{Name: "since", Usage: "segments with events witnessed at or after this `TIME` (RFC 3339 or a date)", Destination: &since},
			&cli.StringFlag{Name: "until", Usage: "segments with events witnessed before this `TIME` (RFC 3339 or a date)", Destination: &until},
			&cli.StringFlag{Name: "seq", Usage: "segments with seqs `A, A-B`, A- or -B, both included", Destination: &seqs},
			&cli.IntFlag{Name: "parallel", Usage: "downloads at once", Value: 4, Destination: &o.Parallel},
		},
		Action: func(ctx context.Context, cmd *cli.Command) error {
			if cmd.Args().Present() {
				return fmt.Errorf("pull takes no arguments, only flags: %q", cmd.Args().First())
			}
			var err error
			if o.Since, err = parseWhen(since); err != nil {
				return fmt.Errorf("--since: %w", err)
			}
			if o.Until, err = parseWhen(until); err != nil {
				return fmt.Errorf("--until: %w", err)
			}
			if seqs != "" {
				var f archive.Filter
				if err := f.ParseSeqs(seqs); err != nil {
					return fmt.Errorf("--seq: %w", err)
				}
				o.First, o.Last = f.First, f.Last
			}
			ctx, stop := untilInterrupted(ctx)
			defer stop()
			if o.From, err = pull.Open(ctx, from); err != nil {
				return err
			}
			return errors.Join(archivePull(ctx, o), o.From.Close())
		},
	}
}

// parseWhen reads a time or a date, in UTC; "" is the zero time.
func parseWhen(s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if t, err := time.Parse(time.DateOnly, s); err == nil {
		return t, nil
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return t, fmt.Errorf("a time is like 2026-01-31T12:00:00Z or 2026-01-31, not %q", s)
	}
	return t, nil
}

func archivePull(ctx context.Context, o pull.Options) error {
	fd := os.Stderr.Fd()
	bar := &progressBar{w: os.Stderr, terminal: isatty.IsTerminal(fd) || isatty.IsCygwinTerminal(fd), now: time.Now}
	show := newShared(bar)
	o.Progress = show.set
	o.Problem = func(n segmentlog.SegmentName, err error) { show.say(fmt.Sprintf("%s: %v", n, err)) }
	r, err := pull.Pull(ctx, o)
	show.clear()
	if err != nil {
		return fmt.Errorf("archive pull: %w", err)
	}
	fmt.Printf("%d segments, %d records, %s, seqs %d to %d: %d downloaded, %d were there, %d superseded removed\n",
		r.Segments, r.Records, bytesText(r.Bytes), r.FirstSeq, r.LastSeq, r.Downloaded, r.Had, r.Removed)
	for _, h := range r.Holes {
		fmt.Printf("missing: seqs %d to %d, %d records\n", h.FirstSeq, h.LastSeq, h.Records)
	}
	if !r.OK() {
		return fmt.Errorf("archive pull: %d segments failed, %d holes; run it again for what failed", r.Failed, len(r.Holes))
	}
	return nil
}
