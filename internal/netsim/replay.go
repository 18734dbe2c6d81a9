package netsim

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"runtime"

	"github.com/bluesky-social/indigo/atproto/atcrypto"
	"golang.org/x/sync/errgroup"
)

// maxFrame bounds a frame's length in a file, before anything is allocated.
const maxFrame = 64 << 20

// Load opens a file that Generate wrote and makes the network that serves it. Nothing
// of it is sent yet: Run publishes it at a rate, or all at once. Of the options only
// those about listening count.
func Load(path string, opts Options) (*Network, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("load frames: %w", err)
	}
	index, err := readIndex(f)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("load frames from %s: %w", path, err), f.Close())
	}
	opts.EnsureDefaults()
	opts.Seed, opts.Hosts = index.Seed, len(index.Hosts)
	n := newNetworkOn(opts, &spool{f: f})
	n.replayed = true
	if err := n.load(index); err != nil {
		return nil, errors.Join(fmt.Errorf("load frames from %s: %w", path, err), n.Close())
	}
	if err := n.listen(); err != nil {
		return nil, errors.Join(err, n.Close())
	}
	return n, nil
}

func readIndex(f *os.File) (*pregenIndex, error) {
	var head [pregenHeader]byte
	if _, err := io.ReadFull(f, head[:]); err != nil || string(head[:len(pregenMagic)]) != pregenMagic {
		return nil, fmt.Errorf("not a file of generated frames (%w)", errors.Join(err, io.ErrUnexpectedEOF))
	}
	at := binary.LittleEndian.Uint64(head[len(pregenMagic):])
	if at < pregenHeader || at > math.MaxInt64 {
		return nil, errors.New("the file was not finished: it has no index")
	}
	if _, err := f.Seek(int64(at), io.SeekStart); err != nil {
		return nil, err
	}
	var index pregenIndex
	if err := json.NewDecoder(bufio.NewReader(f)).Decode(&index); err != nil {
		return nil, fmt.Errorf("index: %w", err)
	}
	return &index, nil
}

// load reads every section, hosts in parallel, and fills ledger and directory.
func (n *Network) load(index *pregenIndex) error {
	var group errgroup.Group
	group.SetLimit(runtime.GOMAXPROCS(0))
	for i, h := range n.hosts {
		section := index.Hosts[i]
		for _, account := range section.Accounts {
			if err := n.loadAccount(h, account); err != nil {
				return err
			}
		}
		group.Go(func() error { return h.loadSection(section) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	for _, h := range n.hosts {
		for _, e := range h.log {
			e.index = len(n.ledger)
			n.ledger = append(n.ledger, e)
		}
	}
	return nil
}

func (n *Network) loadAccount(h *Host, p pregenAccount) error {
	key, err := atcrypto.ParsePublicDIDKey(p.Key)
	if err != nil {
		return fmt.Errorf("account %s: %w", p.DID, err)
	}
	a := &Account{DID: p.DID, net: n, index: len(n.accounts), host: h, handle: p.Handle}
	a.document = document{handle: p.Handle, host: h, public: key, legacy: p.Legacy}
	n.accounts = append(n.accounts, a)
	n.byDID[a.DID] = a
	h.accounts = append(h.accounts, a)
	return nil
}

// loadSection reads one host's frames.
func (h *Host) loadSection(section pregenHost) error {
	r := bufio.NewReaderSize(io.NewSectionReader(h.net.spool.f, section.Offset, section.Bytes), 1<<20)
	var frame []byte
	at := section.Offset
	h.log = make([]*entry, 0, section.Events)
	store := make([]entry, section.Events)
	for i := range store {
		var head [4]byte
		if _, err := io.ReadFull(r, head[:]); err != nil {
			return fmt.Errorf("host %d, event %d: %w", h.index, i, err)
		}
		n := binary.LittleEndian.Uint32(head[:])
		if n > maxFrame {
			return fmt.Errorf("host %d, event %d: length %d", h.index, i, n)
		}
		frame = append(frame[:0], make([]byte, n)...)
		if _, err := io.ReadFull(r, frame); err != nil {
			return fmt.Errorf("host %d, event %d: %w", h.index, i, err)
		}
		p, err := Peek(frame)
		if err != nil {
			return fmt.Errorf("host %d, event %d: %w", h.index, i, err)
		}
		e := &store[i]
		e.host, e.order, e.did, e.kind, e.rev = h, p.Seq, p.DID, p.Kind, p.Rev
		e.sha, e.want, e.expect = p.Digest, p.Digest, expectation{outcome: Accept}
		e.off, e.length = at+4, int(n)
		at += 4 + int64(n)
		h.log = append(h.log, e)
	}
	return nil
}

// publish makes up to count more events of a loaded host visible, and says how many
// those were.
func (h *Host) publish(count int) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	count = min(count, len(h.log)-h.visible)
	h.visible += count
	if h.visible > h.start {
		h.seq = h.log[h.visible-1].order
	}
	h.wake.Broadcast()
	return count
}

// errPublished ends the pacing of a loaded network.
var errPublished = errors.New("everything is published")

// publish publishes a loaded network: all at once, or at a rate, one event of each
// host in turn.
func (n *Network) publish(ctx context.Context, rate float64) error {
	if rate <= 0 {
		for _, h := range n.hosts {
			h.publish(len(h.log))
		}
		return nil
	}
	next := 0
	err := pace(ctx, rate, func() error {
		for range n.hosts {
			h := n.hosts[next%len(n.hosts)]
			next++
			if h.publish(1) > 0 {
				return nil
			}
		}
		return errPublished
	})
	if errors.Is(err, errPublished) {
		return nil
	}
	return err
}
