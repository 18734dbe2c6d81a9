package config

import (
	"fmt"
	"time"

	"github.com/urfave/cli/v3"
)

// Replay says what consumers of the event stream get.
type Replay struct {
	RingSize      string        // as given; Validate parses it
	RingBytes     int64         // memory for the newest events, ready to send
	BlocksSize    string        // as given
	BlocksBytes   int64         // memory for blocks of files, ready to send
	MaxConsumers  int           // connected at once
	MaxPerAddress int           // of them from one address, 0 for any number
	StallTimeout  time.Duration // without a byte accepted
	RateSize      string        // as given
	RateBytes     int64         // bytes a second to each consumer from files, 0 for no limit
}

func (r *Replay) flags(f *file) []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{
			Name: "ring-bytes", Usage: "memory for the newest events, ready to send", Value: "256MiB",
			Sources: f.sourcesOf("ring-bytes"), Destination: &r.RingSize,
		},
		&cli.StringFlag{
			Name: "replay-bytes", Usage: "memory for blocks of the log's files that consumers are reading, ready to send", Value: "64MiB",
			Sources: f.sourcesOf("replay-bytes"), Destination: &r.BlocksSize,
		},
		&cli.IntFlag{
			Name: "max-consumers", Usage: "consumers that may be connected at once; one that takes nothing holds up to 256 KiB", Value: 2000,
			Sources: f.sourcesOf("max-consumers"), Destination: &r.MaxConsumers,
		},
		&cli.IntFlag{
			Name: "max-consumers-per-address", Usage: "of them from one address, or one IPv6 network of 64 bits, 0 for any number; this machine's own do not count", Value: 100,
			Sources: f.sourcesOf("max-consumers-per-address"), Destination: &r.MaxPerAddress,
		},
		&cli.DurationFlag{
			Name: "consumer-stall-timeout", Usage: "end a connection that accepted no byte of what waits for it for this long", Value: 5 * time.Minute,
			Sources: f.sourcesOf("consumer-stall-timeout"), Destination: &r.StallTimeout,
		},
		&cli.StringFlag{
			Name: "consumer-rate-limit", Usage: "bytes a second to each consumer that reads from files, such as 50MiB; 0 for no limit", Value: "0",
			Sources: f.sourcesOf("consumer-rate-limit"), Destination: &r.RateSize,
		},
	}
}

func (r *Replay) validate() error {
	switch {
	case r.MaxConsumers < 1:
		return fmt.Errorf("--max-consumers %d is below 1", r.MaxConsumers)
	case r.MaxPerAddress < 0:
		return fmt.Errorf("--max-consumers-per-address %d is below 0", r.MaxPerAddress)
	case r.StallTimeout < time.Second:
		return fmt.Errorf("--consumer-stall-timeout %s is below a second", r.StallTimeout)
	}
	return readSizes( // the least: a ring of a few chunks, and blocks of the largest frames
		size{flag: "ring-bytes", given: r.RingSize, least: "8MiB", to: &r.RingBytes},
		size{flag: "replay-bytes", given: r.BlocksSize, least: "16MiB", to: &r.BlocksBytes},
		size{flag: "consumer-rate-limit", given: r.RateSize, least: "64KiB", orZero: true, to: &r.RateBytes},
	)
}
