package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

const usage = `usage: bench ingest|mirror|replay|fanout|latency|slow|scale|hostile|soak [flags]

  ingest   what accepting an event costs: read, verified, durable in the log
  mirror   the same of one upstream, as a host and as a relay: verified, and with --verify=off
  replay   what sending one from the log to a consumer costs
  fanout   what a live event costs for each of hundreds of consumers, and how old it is there
  latency  the same with ten consumers
  slow     what consumers that read slowly, pause or never read cost the others
  scale    what thousands of hosts at once cost: threads, memory, time, health
  hostile  what hosts that break every rule of the wire cost the others
  soak     that nothing grows and nothing is lost when hosts fail for hours
`

func run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return fmt.Errorf("%s", usage)
	}
	switch args[0] {
	case "ingest", "mirror", "replay":
		o, err := parseOptions(args[0], args[1:])
		if err != nil {
			return err
		}
		return measure(ctx, args[0], o)
	case "fanout", "latency":
		return runFanout(ctx, args[0], args[1:])
	case "slow":
		return runSlow(ctx, args[1:])
	case "scale":
		return runScale(ctx, args[1:])
	case "hostile":
		return runHostile(ctx, args[1:])
	case "soak":
		return runSoak(ctx, args[1:])
	case "upstream": // this one and the next ones are started by ourselves
		return serveUpstream(ctx, args[1:])
	case "crowd":
		return serveCrowd(ctx, args[1:])
	case "rogues":
		return serveRogues(args[1:])
	case "idle":
		return serveIdle(ctx)
	}
	return fmt.Errorf("%q is no command\n%s", args[0], usage)
}

// parseOptions reads the flags of a command.
func parseOptions(command string, args []string) (options, error) {
	o := defaults()
	f := flag.NewFlagSet("bench "+command, flag.ContinueOnError)
	f.IntVar(&o.events, "n", o.events, "events")
	f.IntVar(&o.rounds, "rounds", o.rounds, "rounds; figures are medians over them")
	f.StringVar(&o.peer, "peer", o.peer, `what to compare with: "reference", the reference relay, or "" for nothing`)
	f.StringVar(&o.cistern, "cistern", o.cistern, "a cistern binary to measure (default: built from this module)")
	f.IntVar(&o.hosts, "hosts", o.hosts, "simulated hosts")
	f.IntVar(&o.accounts, "accounts", o.accounts, "accounts a host")
	f.IntVar(&o.records, "records", o.records, "records an account has before, on average: sets the size of frames")
	f.Uint64Var(&o.seed, "seed", o.seed, "seed of the frames")
	f.StringVar(&o.work, "work", o.work, "folder of what is written while measuring, on the disk to measure")
	f.StringVar(&o.profile, "profile", o.profile, "write profiles of Cistern in one more, unmeasured round into this folder")
	f.BoolVar(&o.markdown, "markdown", o.markdown, "also print a section for docs/benchmarks.md")
	f.StringVar(&o.segment, "segment-size", o.segment, "size at which Cistern seals a hot file, for ingest and sealed replay")
	f.DurationVar(&o.timeout, "timeout", o.timeout, "longest time of one measurement")
	if command == "replay" {
		f.IntVar(&o.consumers, "consumers", o.consumers, "consumers together, measured after one alone")
		f.StringVar(&o.tier, "tier", o.tier, `where Cistern's log is: in "hot" files, or in "sealed" segments`)
	}
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if f.NArg() > 0 {
		return o, fmt.Errorf("bench %s takes flags only: %q", command, f.Arg(0))
	}
	err := o.check()
	return o, err
}
