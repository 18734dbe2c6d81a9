package netsim

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"

	"golang.org/x/sync/errgroup"
)

// A file of generated frames, to be served again without making them again:
//
//	offset 0   8 bytes   "netsim01"
//	offset 8   u64 LE    offset of the index
//	offset 16  sections  one a host, each [u32 LE length][frame]…
//	index      JSON      hosts with the bounds of their sections, and their accounts
//
// Frames are canonical and honest, in the order in which their host sends them.
const (
	pregenMagic  = "netsim01"
	pregenHeader = 16
)

// pregenIndex is the index of such a file.
type pregenIndex struct {
	Seed  uint64       `json:"seed"`
	Hosts []pregenHost `json:"hosts"`
}

type pregenHost struct {
	Offset   int64           `json:"offset"`
	Bytes    int64           `json:"bytes"`
	Events   int             `json:"events"`
	Accounts []pregenAccount `json:"accounts"`
}

type pregenAccount struct {
	DID    string `json:"did"`
	Handle string `json:"handle"`
	Key    string `json:"key"` // did:key
	Legacy bool   `json:"legacy,omitempty"`
}

// Generate makes a network's first n events and writes them to a file. It uses every
// processor: each host's events are made apart from the others'. No account is created
// or leaves on the way, whatever Churn says, and no dialect or lie is written.
func Generate(path string, opts Options, events int) (err error) {
	opts.EnsureDefaults()
	opts.Offline, opts.DialectRate, opts.LieRate = true, 0, 0
	plan, err := New(opts)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, plan.Close()) }()
	turns := make([][]turn, len(plan.hosts)) // whose turn it is, by host
	for range events {
		a, err := plan.pick()
		if err != nil {
			return err
		}
		turns[a.host.index] = append(turns[a.host.index], turn{a.index, plan.clock.next()})
	}
	shards := make([]*Network, len(plan.hosts))
	defer func() {
		for _, s := range shards {
			if s != nil {
				err = errors.Join(err, s.Close())
			}
		}
	}()
	var group errgroup.Group
	group.SetLimit(runtime.GOMAXPROCS(0))
	for i := range plan.hosts {
		group.Go(func() error {
			var err error
			shards[i], err = shard(opts, turns[i])
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return writePregen(path, opts.Seed, shards)
}

// turn is an account's turn to emit an event, at an instant.
type turn struct {
	account int
	at      int64
}

// shard makes the events of one host, in a network of its own that has the same
// accounts.
func shard(opts Options, turns []turn) (*Network, error) {
	n, err := New(opts)
	if err != nil {
		return nil, err
	}
	n.settled = true
	for _, t := range turns {
		n.clock.last = t.at - max(1, n.clock.step.Microseconds())
		a := n.accounts[t.account]
		if n.opts.Churn > 0 && a.host.rng.Float64() < n.opts.Churn {
			err = n.churn(a)
		} else {
			err = n.speak(a)
		}
		if err != nil {
			return nil, errors.Join(err, n.Close())
		}
	}
	return n, nil
}

// writePregen puts the shards' spools one after the other.
func writePregen(path string, seed uint64, shards []*Network) (err error) {
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("generate: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	w := bufio.NewWriterSize(f, 1<<20)
	head := append([]byte(pregenMagic), make([]byte, 8)...)
	if _, err := w.Write(head); err != nil {
		return fmt.Errorf("generate: %w", err)
	}
	index := pregenIndex{Seed: seed}
	at := int64(pregenHeader)
	for i, n := range shards {
		if _, err := io.Copy(w, io.NewSectionReader(n.spool.f, 0, n.spool.size)); err != nil {
			return fmt.Errorf("generate: host %d: %w", i, err)
		}
		host := pregenHost{Offset: at, Bytes: n.spool.size, Events: len(n.ledger), Accounts: []pregenAccount{}}
		at += n.spool.size
		for _, a := range n.hosts[i].accounts {
			if err := a.ensureKey(); err != nil {
				return err
			}
			host.Accounts = append(host.Accounts, pregenAccount{
				DID: a.DID, Handle: a.handle, Key: a.document.public.DIDKey(), Legacy: a.document.legacy,
			})
		}
		index.Hosts = append(index.Hosts, host)
	}
	if err := json.NewEncoder(w).Encode(index); err != nil {
		return fmt.Errorf("generate: index: %w", err)
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("generate: %w", err)
	}
	if _, err := f.WriteAt(binary.LittleEndian.AppendUint64(nil, uint64(at)), int64(len(pregenMagic))); err != nil {
		return fmt.Errorf("generate: %w", err)
	}
	return nil
}
