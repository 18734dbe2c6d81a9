package netsim

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"sync/atomic"

	"github.com/cistern-archive/cistern/segmentlog"
)

// Outcome is what a relay is expected to do with a frame.
type Outcome string

// The outcomes. Either is for events where it depends on which of two connections
// is read first.
const (
	Accept Outcome = "accept"
	Drop   Outcome = "drop"
	Ignore Outcome = "ignore"
	Either Outcome = "either"
)

// Digest is a SHA-256; in JSON it is hexadecimal.
type Digest [sha256.Size]byte

// MarshalText writes the digest in hexadecimal.
func (d Digest) MarshalText() ([]byte, error) { return []byte(hex.EncodeToString(d[:])), nil }

// UnmarshalText reads what MarshalText wrote.
func (d *Digest) UnmarshalText(b []byte) error {
	if len(b) != 2*len(d) {
		return fmt.Errorf("digest of %d characters, want %d", len(b), 2*len(d))
	}
	_, err := hex.Decode(d[:], b)
	return err
}

// Entry is one line of the ledger: a frame that a host has, and what a relay is
// expected to do with it.
type Entry struct {
	Index   int    `json:"index"`    // position in the ledger: the order of the whole network
	Host    string `json:"host"`     // as in a log record: hostname, with port when not default
	Epoch   int    `json:"epoch"`    // how often the host has restarted its numbers
	HostSeq uint64 `json:"host_seq"` // the host's number; a lie may have written another into the frame
	DID     string `json:"did"`
	Kind    string `json:"kind"` // the frame's t, "error" or "text"
	Rev     string `json:"rev,omitempty"`

	// SHA256 is over the frame as sent, Want over the frame as it should be served: both
	// with seq written as 0. They differ when the host is not canonical.
	SHA256 Digest `json:"sha256"`
	Want   Digest `json:"want_sha256"`

	Outcome Outcome            `json:"outcome"`
	Row     int                `json:"row,omitempty"`    // of docs/verification.md, for drop and ignore
	Closes  bool               `json:"closes,omitempty"` // the relay closes the connection
	Flags   segmentlog.Verdict `json:"flags,omitempty"`  // verdict bits that must be set, among others
	Dialect string             `json:"dialect,omitempty"`
	Lie     string             `json:"lie,omitempty"`
	Sent    uint32             `json:"sent"`           // how often it was written to a socket
	Gone    bool               `json:"gone,omitempty"` // no longer in the host's backlog: Reset or Trim
}

// entry is the ledger's own form.
type entry struct {
	host   *Host
	index  int
	epoch  int
	order  uint64 // HostSeq
	did    string
	kind   string
	rev    string
	sha    Digest
	want   Digest
	expect expectation
	off    int64
	length int
	once   bool // never sent again after it was sent: it makes the relay reconnect
	text   bool // a WebSocket text message
	sent   atomic.Uint32
	gone   atomic.Bool // no longer in the host's backlog
}

// expectation is what a relay should do with an event, and why.
type expectation struct {
	outcome Outcome
	row     int
	closes  bool
	flags   segmentlog.Verdict
	dialect string
	lie     string
}

func (e *entry) export() Entry {
	return Entry{
		Index: e.index, Host: e.host.Name, Epoch: e.epoch, HostSeq: e.order, DID: e.did, Kind: e.kind, Rev: e.rev,
		SHA256: e.sha, Want: e.want, Outcome: e.expect.outcome, Row: e.expect.row, Closes: e.expect.closes,
		Flags: e.expect.flags, Dialect: e.expect.dialect, Lie: e.expect.lie, Sent: e.sent.Load(),
		Gone: e.gone.Load(),
	}
}

// Ledger returns everything that hosts have so far, in order.
func (n *Network) Ledger() []Entry { return n.LedgerFrom(0) }

// LedgerFrom returns the ledger from an index on.
func (n *Network) LedgerFrom(index int) []Entry {
	n.mu.Lock()
	defer n.mu.Unlock()
	index = min(max(index, 0), len(n.ledger))
	out := make([]Entry, 0, len(n.ledger)-index)
	for _, e := range n.ledger[index:] {
		out = append(out, e.export())
	}
	return out
}

// Len is the length of the ledger.
func (n *Network) Len() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.ledger)
}

// Frame returns the bytes of a ledger entry as they are sent.
func (n *Network) Frame(index int) ([]byte, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if index < 0 || index >= len(n.ledger) {
		return nil, fmt.Errorf("ledger has no entry %d", index)
	}
	e := n.ledger[index]
	return n.spool.appendTo(nil, e.off, e.length)
}

// WriteLedger writes ledger entries as JSON Lines.
func WriteLedger(w io.Writer, entries []Entry) error {
	enc := json.NewEncoder(w)
	for i := range entries {
		if err := enc.Encode(&entries[i]); err != nil {
			return fmt.Errorf("write ledger: %w", err)
		}
	}
	return nil
}

// ReadLedger reads what WriteLedger wrote.
func ReadLedger(r io.Reader) ([]Entry, error) {
	var out []Entry
	for dec := json.NewDecoder(r); ; {
		var e Entry
		switch err := dec.Decode(&e); err {
		case nil:
			out = append(out, e)
		case io.EOF:
			return out, nil
		default:
			return nil, fmt.Errorf("read ledger line %d: %w", len(out)+1, err)
		}
	}
}
