package main

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/cistern-archive/cistern/internal/netsim"
)

// options is what a measurement can be told.
type options struct {
	events    int
	rounds    int
	peer      string
	cistern   string
	consumers int
	tier      string
	segment   string

	hosts, accounts, records int
	seed                     uint64

	work     string // parent of the working folder
	profile  string
	markdown bool
	timeout  time.Duration
}

func defaults() options {
	return options{
		events: 100_000, rounds: 5, peer: peerReference, consumers: 8, tier: tierHot, segment: "32MiB",
		hosts: 8, accounts: 100, records: 300, seed: 1,
		work: filepath.Join(cacheDir(), "bench"), timeout: 10 * time.Minute,
	}
}

// peerReference names the reference relay as a peer.
const peerReference = "reference"

// The tiers of Cistern's log that replay is measured from.
const (
	tierHot    = "hot"
	tierSealed = "sealed"
)

func (o *options) check() error {
	for flag, v := range map[string]int{"n": o.events, "rounds": o.rounds, "hosts": o.hosts, "accounts": o.accounts, "records": o.records, "consumers": o.consumers} {
		if v < 1 {
			return fmt.Errorf("-%s %d: must be at least 1", flag, v)
		}
	}
	if o.peer != "" && o.peer != peerReference {
		return fmt.Errorf("-peer %q is neither %q nor empty", o.peer, peerReference)
	}
	if o.tier != tierHot && o.tier != tierSealed {
		return fmt.Errorf("-tier %q is neither %q nor %q", o.tier, tierHot, tierSealed)
	}
	if o.timeout <= 0 {
		return fmt.Errorf("-timeout %s: must be above zero", o.timeout)
	}
	return nil
}

// network is what the frames are made from.
func (o *options) network() netsim.Options {
	return netsim.Options{Seed: o.seed, Hosts: o.hosts, Accounts: o.accounts, Records: o.records}
}

// framesFile is where frames of these parameters are cached.
func (o *options) framesFile() string {
	name := fmt.Sprintf("frames-seed%d-%dx%d-%drecords-%d.netsim", o.seed, o.hosts, o.accounts, o.records, o.events)
	return filepath.Join(cacheDir(), "frames", name)
}

// cacheDir is where things are kept from one run to the next.
func cacheDir() string {
	base, err := os.UserCacheDir()
	if err != nil {
		base = os.TempDir()
	}
	return filepath.Join(base, "cistern")
}
