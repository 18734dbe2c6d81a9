package verify

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"github.com/cistern-archive/cistern/internal/frame"
	"github.com/cistern-archive/cistern/internal/signing"
	"github.com/cistern-archive/cistern/segmentlog"
)

// ErrSignature is wrapped by the Rejection of row T26 when another key of the account
// could fit: the caller refreshes the identity and checks again, once. A signature
// that no key could fit (wrong length, high S) is rejected without it.
var ErrSignature = errors.New("signature does not verify with the account's key")

// Options of a Verifier. The zero value is strict.
type Options struct {
	// Lenient passes what the rows marked (L) break, with the verdict bit Lenient.
	Lenient bool
	// Now is the wall clock of T27; time.Now when nil.
	Now func() time.Time
}

// EnsureDefaults fills in what is not set.
func (o *Options) EnsureDefaults() {
	if o.Now == nil {
		o.Now = time.Now
	}
}

// Verifier checks events. It holds scratch memory of some 100 kB that is reused from
// event to event, so one goroutine at a time may use it: keep them in a pool when
// there are many hosts. Between events it may still refer to the last frame.
type Verifier struct {
	opt      Options
	blocks   blockTable
	commit   commit
	tree     tree
	ops      []op
	unsigned []byte
	digest   [sha256.Size]byte
}

// New returns a Verifier.
func New(opt Options) *Verifier {
	opt.EnsureDefaults()
	return &Verifier{opt: opt}
}

// Commit judges a #commit against the account's key and its stored state. It returns
// the verdict bits and the state after it, or a *Rejection.
func (v *Verifier) Commit(ev *frame.Event, key *signing.Key, prev State) (Result, error) {
	c, err := v.open(ev)
	if err != nil {
		return Result{}, err
	}
	if err := checkOpCount(ev); err != nil {
		return Result{}, err
	}
	if err := checkCommitRev(ev, prev); err != nil {
		return Result{}, err
	}
	verdict, err := v.prove(ev, c, prev)
	if err != nil {
		return Result{}, err
	}
	if err := v.checkSignature(c, key); err != nil {
		return Result{}, err
	}
	verdict |= segmentlog.Signature | chain(ev, prev)
	return Result{Verdict: verdict, State: newState(c)}, nil
}

// Sync judges a #sync, like Commit.
func (v *Verifier) Sync(ev *frame.Event, key *signing.Key, prev State) (Result, error) {
	c, err := v.open(ev)
	if err != nil {
		return Result{}, err
	}
	verdict, err := checkSyncRev(ev, c, prev)
	if err != nil {
		return Result{}, err
	}
	if err := v.checkSignature(c, key); err != nil {
		return Result{}, err
	}
	return Result{Verdict: segmentlog.Signature | verdict, State: newState(c)}, nil
}

// open reads what #commit and #sync have in common: rows T18 and T22–T27 without the
// signature.
func (v *Verifier) open(ev *frame.Event) (*commit, error) {
	v.reset()
	if err := checkBlocksSize(ev); err != nil {
		return nil, err
	}
	root, blocks, err := readCARHeader(ev.Blocks)
	if err != nil {
		return nil, err
	}
	if err := v.blocks.readBlocks(blocks); err != nil {
		return nil, err
	}
	b, err := v.checkRoot(ev, root)
	if err != nil {
		return nil, err
	}
	c := &v.commit
	if err := c.decodeCommit(b.cid, b.data); err != nil {
		return nil, err
	}
	if err := checkFieldsAgree(ev, c); err != nil {
		return nil, err
	}
	return c, checkClock(c.rev, v.opt.Now())
}

// T22, repository page: the first root is the message's commit (a #sync has no such
// field), and its block is there.
func (v *Verifier) checkRoot(ev *frame.Event, root []byte) (*block, error) {
	if ev.Kind == frame.Commit && !bytes.Equal(root, ev.Commit) {
		return nil, drop(22, "car_root_mismatch", fmt.Errorf("root %x, commit %x", root, ev.Commit))
	}
	b := v.blocks.find(root)
	if b == nil {
		return nil, drop(22, "commit_block_absent", nil)
	}
	return b, nil
}

// T26, cryptography page: the signature is over the block's map without `sig`, with
// unknown fields kept; P-256 or secp256k1, low-S.
func (v *Verifier) checkSignature(c *commit, key *signing.Key) error {
	if key == nil {
		return drop(26, "no_key", nil)
	}
	v.unsigned = c.appendUnsigned(v.unsigned[:0])
	v.digest = sha256.Sum256(v.unsigned)
	err := key.VerifyDigest(v.digest[:], c.sig)
	switch {
	case errors.Is(err, signing.ErrMalformed):
		return drop(26, "signature_form", err)
	case err != nil:
		return drop(26, "bad_signature", ErrSignature)
	}
	return nil
}

// forgive passes a rejection when lenient, setting its bit.
func (v *Verifier) forgive(verdict *segmentlog.Verdict, rejection error) error {
	if !v.opt.Lenient {
		return rejection
	}
	*verdict |= segmentlog.Lenient
	return nil
}

func (v *Verifier) reset() {
	if cap(v.blocks.list) > keepBlocks {
		v.blocks.list, v.blocks.index = nil, nil
	}
	if cap(v.unsigned) > keepEnc {
		v.unsigned = nil
	}
	v.blocks.reset()
	v.tree.reset(&v.blocks)
}

func newState(c *commit) State {
	n := len(c.data)
	b := append(append(make([]byte, 0, n+len(c.cid)), c.data...), c.cid...)
	return State{Rev: string(c.rev), Data: b[:n:n], Commit: b[n:]}
}

func drop(row int, reason string, err error) error {
	return &Rejection{Row: row, Action: Drop, Reason: reason, Err: err}
}

func ignore(row int, reason string, err error) error {
	return &Rejection{Row: row, Action: Ignore, Reason: reason, Err: err}
}
