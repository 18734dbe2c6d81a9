package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/mattn/go-isatty"
	"github.com/urfave/cli/v3"

	"github.com/cistern-archive/cistern/internal/archive"
)

func archiveVerifyCommand() *cli.Command {
	var o archive.VerifyOptions
	var asJSON bool
	return &cli.Command{
		Name: "verify", Usage: "check every byte, every record, the tree and that nothing is missing; exits 1 at any problem",
		ArgsUsage: placesUsage,
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "signatures", Usage: "check every commit's signature with the key stored in its record", Destination: &o.Signatures},
			&cli.BoolFlag{Name: "json", Usage: "print the report as JSON", Destination: &asJSON},
			&cli.IntFlag{Name: "workers", Usage: "blocks checked at once (default: all processors)", Destination: &o.Workers},
		},
		Action: func(ctx context.Context, cmd *cli.Command) error {
			ctx, stop := untilInterrupted(ctx)
			defer stop()
			src, err := findSegments(ctx, cmd, 0)
			if err != nil {
				return err
			}
			return archiveVerify(ctx, src, o, asJSON)
		},
	}
}

func archiveVerify(ctx context.Context, src *archive.Source, o archive.VerifyOptions, asJSON bool) error {
	fd := os.Stderr.Fd()
	bar := &progressBar{w: os.Stderr, terminal: isatty.IsTerminal(fd) || isatty.IsCygwinTerminal(fd), now: time.Now}
	o.Progress = bar.set
	first := true
	o.Problem = func(p archive.Problem) {
		bar.clear()
		label := "also bad: "
		if first {
			label = "first bad place: "
		}
		first = false
		fmt.Fprintln(os.Stderr, label+p.String())
	}
	report, err := archive.Verify(ctx, src, o)
	bar.clear()
	if err != nil {
		return err
	}
	if asJSON {
		enc := json.NewEncoder(os.Stdout)
		enc.SetIndent("", "  ")
		if err := enc.Encode(report); err != nil {
			return err
		}
	} else if err := printReport(os.Stdout, report, len(src.Superseded)); err != nil {
		return err
	}
	if !report.OK() {
		return fmt.Errorf("archive verify: problems found: %d", len(report.Problems))
	}
	return nil
}

// printReport writes the summary.
func printReport(w io.Writer, r *archive.Report, superseded int) error {
	state := "ok"
	if !r.OK() {
		state = "BAD"
	}
	s := fmt.Sprintf("%s: %d files, %d records, %s in %.1f s, seqs %d to %d, tree of %d leaves, root %s",
		state, r.Files, r.Records, bytesText(r.Bytes), r.Seconds, r.FirstSeq, r.LastSeq, r.TreeSize, r.Root)
	if r.FirstLeaf > 0 {
		s += fmt.Sprintf(", beginning at leaf %d (what is before it was not given)", r.FirstLeaf)
	}
	if superseded > 0 {
		s += fmt.Sprintf(", %d superseded files left out", superseded)
	}
	if c := r.Checked; c != nil {
		s += fmt.Sprintf(", %d signatures verified", c.Verified)
		if c.Unsigned > 0 {
			s += fmt.Sprintf(", %d commits claim none", c.Unsigned)
		}
		if c.Erased > 0 {
			s += fmt.Sprintf(", %d records erased", c.Erased)
		}
	}
	_, err := fmt.Fprintln(w, s)
	return err
}
