package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"text/tabwriter"

	"github.com/cistern-archive/cistern/internal/netsim"
	"github.com/urfave/cli/v3"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := command().Run(ctx, os.Args)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "netsim:", err)
		os.Exit(1)
	}
}

func command() *cli.Command {
	return &cli.Command{
		Name:  "netsim",
		Usage: "a simulated AT Protocol network",
		Commands: []*cli.Command{
			{Name: "serve", Usage: "run a PLC directory and hosts", Flags: serveFlags(), Action: serve},
			{Name: "generate", Usage: "write a network's events to a file, for serve --from", Flags: generateFlags(), Action: generate},
			{Name: "lies", Usage: "list what hosts can lie about", Action: func(_ context.Context, c *cli.Command) error {
				return table(c.Root().Writer, func(w io.Writer) {
					for _, l := range netsim.Lies() {
						fmt.Fprintf(w, "%s\tT%d\t%s\t%s\n", l.Name, l.Row, l.Outcome, l.About)
					}
				})
			}},
			{Name: "dialects", Usage: "list what hosts can write otherwise", Action: func(_ context.Context, c *cli.Command) error {
				return table(c.Root().Writer, func(w io.Writer) {
					for _, d := range netsim.Dialects() {
						fmt.Fprintf(w, "%s\t%s\t%s\n", d.Name, d.Flags, d.About)
					}
				})
			}},
		},
	}
}

// table writes tab-separated rows in columns.
func table(w io.Writer, rows func(io.Writer)) error {
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	rows(t)
	return t.Flush()
}

// networkFlags are those that say what the network is like.
func networkFlags() []cli.Flag {
	return []cli.Flag{
		&cli.Uint64Flag{Name: "seed", Value: 1, Usage: "same seed, same network"},
		&cli.IntFlag{Name: "hosts", Value: 8, Usage: "number of hosts"},
		&cli.IntFlag{Name: "accounts", Value: 100, Usage: "accounts per host"},
		&cli.IntFlag{Name: "records", Value: 300, Usage: "mean number of records an account begins with"},
		&cli.FloatFlag{Name: "skew", Value: 1.1, Usage: "zipf exponent of activity over accounts, above 1"},
		&cli.FloatFlag{Name: "churn", Value: 0.02, Usage: "share of events that are not commits; below 0: none"},
	}
}

func options(c *cli.Command) netsim.Options {
	return netsim.Options{
		Seed: c.Uint64("seed"), Hosts: c.Int("hosts"), Accounts: c.Int("accounts"), Records: c.Int("records"),
		Skew: c.Float("skew"), Churn: c.Float("churn"),
	}
}

func generateFlags() []cli.Flag {
	return append(networkFlags(),
		&cli.IntFlag{Name: "events", Value: 200_000, Usage: "number of events"},
		&cli.StringFlag{Name: "out", Required: true, Usage: "file to write"},
	)
}

func generate(_ context.Context, c *cli.Command) error {
	out := c.String("out")
	if err := netsim.Generate(out, options(c), c.Int("events")); err != nil {
		return err
	}
	info, err := os.Stat(out)
	if err != nil {
		return err
	}
	fmt.Fprintf(c.Root().Writer, "%d events in %s, %d bytes each\n", c.Int("events"), out, info.Size()/int64(max(1, c.Int("events"))))
	return nil
}
