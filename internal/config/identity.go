package config

import (
	"fmt"

	"github.com/urfave/cli/v3"
)

// Identity says how DID documents are asked for and remembered.
type Identity struct {
	PLCRate    float64 // requests a second to each PLC directory, 0 for no limit
	CacheSize  string  // as given; Validate parses it
	CacheBytes int64   // memory for documents
}

// maxPLCRate is more than anyone could want, and far from what cannot be counted.
const maxPLCRate = 1e6

func (i *Identity) flags(f *file) []cli.Flag {
	return []cli.Flag{
		&cli.FloatFlag{
			Name: "plc-rate", Usage: "requests a second to each PLC directory, 0 for no limit", Value: 100,
			Sources: f.sourcesOf("plc-rate"), Destination: &i.PLCRate,
		},
		&cli.StringFlag{
			Name: "identity-cache", Usage: "memory for DID documents; those that do not fit are read from disk", Value: "256MiB",
			Sources: f.sourcesOf("identity-cache"), Destination: &i.CacheSize,
		},
	}
}

func (i *Identity) validate() error {
	if !(i.PLCRate >= 0 && i.PLCRate <= maxPLCRate) { // not even a NaN
		return fmt.Errorf("--plc-rate %v is not between 0 and %v", i.PLCRate, float64(maxPLCRate))
	}
	return readSizes(size{flag: "identity-cache", given: i.CacheSize, least: "1MiB", to: &i.CacheBytes}) // some thousand accounts
}
