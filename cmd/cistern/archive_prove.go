package main

import (
	"context"
	"fmt"
	"os"
	"strconv"

	"github.com/urfave/cli/v3"

	"github.com/cistern-archive/cistern/internal/archive"
	"github.com/cistern-archive/cistern/segmentlog"
)

// maxProofFile bounds a proof in JSON, in bytes; a real one has some 4,000.
const maxProofFile = 1 << 20

func archiveProveCommand() *cli.Command {
	return &cli.Command{
		Name: "prove", Usage: "print an inclusion proof: that the record of SEQ is in the log's tree",
		ArgsUsage: "SEQ " + placesUsage,
		Description: "Give the segment that holds SEQ and all that follow it: only the first is decoded. The proof is for\n" +
			"the tree that the last one ends with.",
		Action: func(ctx context.Context, cmd *cli.Command) error {
			seq, err := strconv.ParseUint(cmd.Args().First(), 10, 64)
			if err != nil {
				return fmt.Errorf("prove takes a seq and then segments: %q is not a seq", cmd.Args().First())
			}
			ctx, stop := untilInterrupted(ctx)
			defer stop()
			src, err := findSegments(ctx, cmd, 1)
			if err != nil {
				return err
			}
			p, err := archive.Prove(ctx, src, seq)
			if err != nil {
				return err
			}
			b, err := p.JSON()
			if err == nil {
				_, err = os.Stdout.Write(b)
			}
			return err
		},
	}
}

func archiveCheckProofCommand() *cli.Command {
	var record, frame string
	var e archive.Evidence
	return &cli.Command{
		Name: "check-proof", Usage: "check an inclusion proof; exits 1 when it does not hold", ArgsUsage: "FILE|-",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "root", Usage: "the root, in hexadecimal, from a place that you trust: a proof does not say whose its own root is", Destination: &e.Root},
			&cli.StringFlag{Name: "record", Usage: "`FILE` of the record's CBOR: it must be the one that is proven", Destination: &record},
			&cli.StringFlag{Name: "frame", Usage: "`FILE` of the frame as it was served: the same", Destination: &frame},
		},
		Action: func(_ context.Context, cmd *cli.Command) error {
			if cmd.NArg() != 1 {
				return fmt.Errorf("check-proof takes one file, or - for standard input")
			}
			b, err := readBounded(cmd.Args().First(), maxProofFile)
			if err != nil {
				return err
			}
			for name, to := range map[string]*[]byte{record: &e.Record, frame: &e.Frame} {
				if name == "" {
					continue
				}
				if *to, err = readBounded(name, segmentlog.MaxRecord); err != nil {
					return err
				}
			}
			return checkProof(b, e)
		},
	}
}

func checkProof(b []byte, e archive.Evidence) error {
	p, err := archive.ParseProof(b)
	if err != nil {
		return err
	}
	if err := p.Check(e); err != nil {
		return err
	}
	whose := "whose root the proof itself names: compare it with one that you trust (--root)"
	if e.Root != "" {
		whose = "whose root is the one given"
	}
	_, err = fmt.Printf("ok: seq %d is leaf %d of the tree of %d leaves with root %s, %s\n", p.Seq, p.LeafIndex, p.TreeSize, p.Root, whose)
	return err
}
