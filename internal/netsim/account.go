package netsim

import (
	"encoding/base32"
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/bluesky-social/indigo/atproto/atcrypto"
)

// Account is one account of the network. Its repository is made when it is first
// needed. Fields that change are guarded by the network's lock.
type Account struct {
	DID string

	net      *Network
	index    int
	host     *Host
	handle   string
	status   string // "" is active; else the status of com.atproto.sync.subscribeRepos#account
	document document
	key      *signer
	keys     int // how many keys there have been
	repo     *repo
	rng      *rand.Rand
	revAt    int64  // µs of the newest rev
	object   []byte // the newest commit object
	known    bool   // a #commit or #sync of it was emitted
}

// document is what the PLC directory knows of an account.
type document struct {
	handle  string
	host    *Host
	public  atcrypto.PublicKey
	legacy  bool
	gone    bool // tombstoned: HTTP 410
	history []plcOp
}

// plcOp is one state of the PLC directory's audit log.
type plcOp struct {
	at     int64 // Unix µs
	handle string
	key    string // did:key
	pds    string
}

var base32Lower = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// newAccount makes an account that emitted nothing yet. The network is locked.
func (n *Network) newAccount(h *Host) *Account {
	index := len(n.accounts)
	a := &Account{net: n, index: index, host: h, rng: rand.New(rand.NewPCG(seedOf(n.opts.Seed, "account", index)))}
	var id [15]byte
	for i := range id {
		id[i] = byte(a.rng.Uint32())
	}
	a.DID = "did:plc:" + base32Lower.EncodeToString(id[:])
	a.handle = fmt.Sprintf("user%d.%s.test", index, strings.ReplaceAll(sentenceLabel(a.rng), " ", ""))
	a.document = document{handle: a.handle, host: h, legacy: a.rng.Float64() < n.opts.LegacyDocs}
	n.accounts = append(n.accounts, a)
	n.byDID[a.DID] = a
	h.accounts = append(h.accounts, a)
	return a
}

// sentenceLabel picks a word that may stand in a handle.
func sentenceLabel(r *rand.Rand) string {
	labels := [...]string{"bsky", "blue", "sky", "cloud", "river", "stone", "north"}
	return labels[r.IntN(len(labels))]
}

// ensureKey makes the account's first key. The network is locked.
func (a *Account) ensureKey() error {
	if a.key != nil {
		return nil
	}
	if err := a.newKey(); err != nil {
		return err
	}
	a.publish(a.net.opts.Start.UnixMicro() - int64(a.index))
	return nil
}

// newKey gives the account its next key; mostly k256, as on the public network.
func (a *Account) newKey() error {
	curve := "k256"
	if (a.index+a.keys)%4 == 3 {
		curve = "p256"
	}
	key, err := newSigner(curve, a.net.opts.Seed, "account", a.index, a.keys)
	if err != nil {
		return fmt.Errorf("key of %s: %w", a.DID, err)
	}
	a.key = key
	a.keys++
	return nil
}

// publish writes the account's handle, host and key into the PLC directory.
func (a *Account) publish(at int64) {
	d := &a.document
	d.handle, d.host, d.public = a.handle, a.host, a.key.public
	d.history = append(d.history, plcOp{at: at, handle: a.handle, key: a.key.public.DIDKey(), pds: a.host.URL})
}

// ensureRepo makes the account's key and its repository with the records that it had
// before the network began. The network is locked.
func (a *Account) ensureRepo() error {
	if a.repo != nil {
		return nil
	}
	if a.net.replayed {
		return fmt.Errorf("account %s was loaded from a file: it cannot emit", a.DID)
	}
	if err := a.ensureKey(); err != nil {
		return err
	}
	r, err := newRepo()
	if err != nil {
		return err
	}
	start := a.net.opts.Start.UnixMicro() - 1_000_000
	// A tenth to ten times the mean, most below it.
	scale := a.rng.ExpFloat64()
	size := int(float64(a.net.opts.Records) * min(max(scale, 0.1), 10))
	if err := r.fill(a.rng, max(size, 1), start); err != nil {
		return err
	}
	a.repo = r
	r.rev = a.nextRev(start)
	return nil
}

// nextRev returns a TID of the instant that is above every earlier one.
func (a *Account) nextRev(at int64) string {
	a.revAt = max(a.revAt+1, at)
	return tid(a.revAt, uint(a.index%1024))
}

// Host returns the host that the account lives on.
func (a *Account) Host() *Host {
	a.net.mu.Lock()
	defer a.net.mu.Unlock()
	return a.host
}

// Handle returns the account's handle.
func (a *Account) Handle() string {
	a.net.mu.Lock()
	defer a.net.mu.Unlock()
	return a.handle
}

// Status returns "" for an active account, else the status as its host states it.
func (a *Account) Status() string {
	a.net.mu.Lock()
	defer a.net.mu.Unlock()
	return a.status
}
