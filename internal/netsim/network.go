package netsim

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"
)

// Network is a PLC directory and hosts. Its methods may be called from any
// goroutine.
type Network struct {
	opts Options

	mu       sync.Mutex // guards all below but the hosts' own state
	clock    *clock
	rng      *rand.Rand
	zipf     *rand.Zipf
	ranks    []int // account indexes, the most active first
	accounts []*Account
	byDID    map[string]*Account
	extra    map[string][]byte // DID documents given by hand
	ledger   []*entry
	spool    *spool
	replayed bool // loaded from a file: it emits nothing new
	settled  bool // accounts neither come nor leave

	hosts     []*Host
	plc       *PLC
	authority *authority // nil: hosts speak plain HTTP

	elsewhere *Host                  // a host that nobody listens on, for lies
	onTwin    func(string, *message) // a test wants the honest twin of each lie
}

// New makes a network and, unless Offline, opens its listeners.
func New(opts Options) (*Network, error) {
	opts.EnsureDefaults()
	n, err := newNetwork(opts)
	if err != nil {
		return nil, err
	}
	for range opts.Accounts {
		for _, h := range n.hosts {
			n.newAccount(h)
		}
	}
	n.ranks = n.rng.Perm(len(n.accounts))
	if len(n.accounts) > 0 {
		n.zipf = rand.NewZipf(n.rng, opts.Skew, 1, uint64(len(n.accounts)-1))
	}
	if err := n.listen(); err != nil {
		return nil, errors.Join(err, n.Close())
	}
	return n, nil
}

func newNetwork(opts Options) (*Network, error) {
	s, err := newSpool(opts.SpoolDir)
	if err != nil {
		return nil, err
	}
	return newNetworkOn(opts, s), nil
}

// newNetworkOn makes a network without accounts that reads and writes a spool.
func newNetworkOn(opts Options, s *spool) *Network {
	n := &Network{
		opts: opts, clock: newClock(opts), spool: s,
		rng:   rand.New(rand.NewPCG(seedOf(opts.Seed, "network", 0))),
		byDID: make(map[string]*Account), extra: make(map[string][]byte),
	}
	n.plc = newPLC(n)
	for i := range opts.Hosts {
		n.hosts = append(n.hosts, newHost(n, i))
	}
	return n
}

func (n *Network) listen() error {
	if n.opts.Offline {
		return nil
	}
	if n.opts.TLS {
		var err error
		if n.authority, err = newAuthority(n.opts.Listen); err != nil {
			return err
		}
	}
	if err := n.plc.start(n.opts.PLCListen); err != nil {
		return err
	}
	for _, h := range n.hosts {
		if err := h.Start(); err != nil {
			return err
		}
	}
	return nil
}

// Close closes every connection and listener and waits for their goroutines.
func (n *Network) Close() error {
	errs := []error{n.plc.close()}
	for _, h := range n.hosts {
		errs = append(errs, h.Stop())
	}
	return errors.Join(append(errs, n.spool.close())...)
}

// PLC returns the directory, whose faults a test may set.
func (n *Network) PLC() *PLC { return n.plc }

// PLCURL is the base URL of the PLC directory.
func (n *Network) PLCURL() string { return n.plc.URL }

// Hosts returns all hosts.
func (n *Network) Hosts() []*Host { return n.hosts }

// Host returns the i-th host.
func (n *Network) Host(i int) *Host { return n.hosts[i] }

// HostURLs returns the base URL of every host.
func (n *Network) HostURLs() []string {
	urls := make([]string, len(n.hosts))
	for i, h := range n.hosts {
		urls[i] = h.URL
	}
	return urls
}

// Account returns the account of a DID, nil when there is none.
func (n *Network) Account(did string) *Account {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.byDID[did]
}

// Run steps at a rate, in events a second over all hosts, until the context ends; a
// rate of 0 steps as fast as it can. A loaded network publishes what it has instead, at
// the rate or all at once, and Run returns when that is done.
func (n *Network) Run(ctx context.Context, rate float64) error {
	if n.replayed {
		return n.publish(ctx, rate)
	}
	if rate <= 0 {
		for ctx.Err() == nil {
			if err := n.Step(); err != nil {
				return err
			}
		}
		return nil
	}
	return pace(ctx, rate, n.Step)
}

// pace calls f at a rate until the context ends. After a delay it catches up.
func pace(ctx context.Context, rate float64, f func() error) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	began, done := time.Now(), 0
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		for due := int(time.Since(began).Seconds() * rate); done < due && ctx.Err() == nil; done++ {
			if err := f(); err != nil {
				return fmt.Errorf("step %d: %w", done, err)
			}
		}
	}
}
