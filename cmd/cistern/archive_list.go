package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v3"

	"github.com/cistern-archive/cistern/internal/archive"
)

func archiveListCommand() *cli.Command {
	var asJSON, all bool
	return &cli.Command{
		Name: "ls", Usage: "list segments in order", ArgsUsage: placesUsage,
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "json", Usage: "one JSON object a line", Destination: &asJSON},
			&cli.BoolFlag{Name: "all", Usage: "also those that a higher generation supersedes", Destination: &all},
		},
		Action: func(ctx context.Context, cmd *cli.Command) error {
			ignoreSIGPIPE()
			ctx, stop := untilInterrupted(ctx)
			defer stop()
			src, err := findSegments(ctx, cmd, 0)
			if err != nil {
				return err
			}
			return closedPipe(archiveList(ctx, os.Stdout, src, asJSON, all))
		},
	}
}

func archiveList(ctx context.Context, w io.Writer, src *archive.Source, asJSON, all bool) error {
	files, superseded := src.Files, map[*archive.File]bool{}
	if all {
		files = append(slices.Clone(files), src.Superseded...)
		for _, f := range src.Superseded {
			superseded[f] = true
		}
	}
	tab := tabwriter.NewWriter(w, 0, 8, 2, ' ', tabwriter.AlignRight)
	if !asJSON {
		fmt.Fprintln(tab, "first seq\tlast seq\trecords\tfirst witnessed\tlast witnessed\tsize\traw\tratio\t  name")
	}
	for _, f := range files {
		info, err := f.Inspect(ctx)
		if err != nil {
			return err
		}
		info.Detail, info.Superseded = nil, superseded[f]
		if asJSON {
			if err := json.NewEncoder(w).Encode(info); err != nil {
				return err
			}
			continue
		}
		note := ""
		if info.Superseded {
			note = " (superseded)"
		}
		fmt.Fprintf(tab, "%d\t%d\t%d\t%s\t%s\t%s\t%s\t%.2f\t  %s%s\n", info.FirstSeq, info.LastSeq, info.Records,
			info.FirstWitnessed.Format(time.RFC3339), info.LastWitnessed.Format(time.RFC3339),
			bytesText(info.Size), bytesText(info.Raw), float64(info.Raw)/float64(info.Size), info.Name, note)
	}
	return tab.Flush()
}

func archiveInspectCommand() *cli.Command {
	var asJSON bool
	return &cli.Command{
		Name: "inspect", Usage: "print what the footer of a segment says", ArgsUsage: placesUsage,
		Flags: []cli.Flag{&cli.BoolFlag{Name: "json", Usage: "as JSON", Destination: &asJSON}},
		Action: func(ctx context.Context, cmd *cli.Command) error {
			ignoreSIGPIPE()
			ctx, stop := untilInterrupted(ctx)
			defer stop()
			src, err := findSegments(ctx, cmd, 0)
			if err != nil {
				return err
			}
			return closedPipe(archiveInspect(ctx, os.Stdout, src, asJSON))
		},
	}
}

func archiveInspect(ctx context.Context, w io.Writer, src *archive.Source, asJSON bool) error {
	for _, f := range append(slices.Clone(src.Files), src.Superseded...) {
		info, err := f.Inspect(ctx)
		if err != nil {
			return err
		}
		if asJSON {
			enc := json.NewEncoder(w)
			enc.SetIndent("", "  ")
			err = enc.Encode(info)
		} else {
			err = printInfo(w, info)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// printInfo writes a footer for people.
func printInfo(w io.Writer, i *archive.Info) error {
	fmt.Fprintf(w, "%s\n", i.File)
	tab := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	row := func(name, format string, args ...any) {
		fmt.Fprintf(tab, "  %s\t%s\n", name, fmt.Sprintf(format, args...))
	}
	row("name", "%s", i.Name)
	row("stream", "%s", i.Stream)
	row("epoch, generation", "%d, %d", i.Epoch, i.Generation)
	row("seqs", "%d to %d, %d records", i.FirstSeq, i.LastSeq, i.Records)
	row("witnessed", "%s to %s", i.FirstWitnessed.Format(time.RFC3339Nano), i.LastWitnessed.Format(time.RFC3339Nano))
	row("size", "%s, decoded %s (%.2f to 1)", bytesText(i.Size), bytesText(i.Raw), float64(i.Raw)/float64(i.Size))
	row("leaves", "%d to %d of the log", i.FirstLeaf, i.TreeSize-1)
	row("root", "%s of %d leaves", i.Root, i.TreeSize)
	row("frontier before", "%d hashes; own leaves %d hashes", len(i.Frontier), len(i.Leaves))
	if err := tab.Flush(); err != nil {
		return err
	}
	for _, c := range []struct {
		title, unnamed string
		n              map[string]uint64
	}{{"events by kind", "(erased or unreadable)", i.Kinds}, {"ops by collection", "(others)", i.Collections}} {
		fmt.Fprintf(w, "  %s\n", c.title)
		for _, k := range byCount(c.n) {
			name := k
			if name == "" {
				name = c.unnamed
			}
			fmt.Fprintf(w, "    %10d  %s\n", c.n[k], name)
		}
	}
	fmt.Fprintf(w, "  %d blocks\n", len(i.Blocks))
	tab = tabwriter.NewWriter(w, 0, 8, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(tab, "    block\toffset\tencoded\tdecoded\trecords\tfirst seq\tlast seq\t  SHA-256")
	for n, b := range i.Blocks {
		fmt.Fprintf(tab, "    %d\t%d\t%d\t%d\t%d\t%d\t%d\t  %s\n", n, b.Offset, b.Wire, b.Raw, b.Records, b.FirstSeq, b.LastSeq, b.SHA256[:16])
	}
	return tab.Flush()
}

// byCount orders names by count, the largest first, then by name.
func byCount(n map[string]uint64) []string {
	names := slices.Sorted(maps.Keys(n))
	slices.SortStableFunc(names, func(a, b string) int {
		switch {
		case n[a] > n[b]:
			return -1
		case n[a] < n[b]:
			return 1
		}
		return 0
	})
	return names
}
