package derive

import (
	"strings"

	"github.com/cistern-archive/cistern/index"
	"github.com/cistern-archive/cistern/internal/accounts"
	"github.com/cistern-archive/cistern/internal/frame"
	"github.com/cistern-archive/cistern/segmentlog"
)

// fold is what a run of consecutive records changes, with one entry an account and
// host. Runs can be folded at the same time; written in order they give what record
// after record gives, since merging is associative.
type fold struct {
	events   int
	lastSeq  uint64
	accounts map[string]*index.Account
	hosts    map[string]*index.Host
	times    []second            // the first record of each second, of this run
	uses     map[collection]bool // accounts' collections
	synced   []synced            // in order
	bad      int                 // frames that could not be read
	badErr   error               // of the first of them

	ev     frame.Event
	change accounts.Change
	acct   index.Account
}

type second struct {
	at, seq uint64
}

// synced is a #sync.
type synced struct {
	did       string
	witnessed int64
}

type collection struct {
	name, did string
}

func newFold() *fold {
	return &fold{
		accounts: make(map[string]*index.Account), hosts: make(map[string]*index.Host), uses: make(map[collection]bool),
	}
}

// add takes the next record, of which it keeps nothing.
func (f *fold) add(rec *segmentlog.Record) {
	f.events++
	f.lastSeq = rec.Seq
	if s := index.Second(rec.Witnessed); len(f.times) == 0 || f.times[len(f.times)-1].at != s {
		f.times = append(f.times, second{s, rec.Seq})
	}
	if err := ChangeOf(rec, &f.ev, &f.change); err != nil {
		if f.bad++; f.badErr == nil {
			f.badErr = err
		}
	}
	f.addHost(rec)
	f.addAccount(rec)
	switch f.ev.Kind {
	case frame.Commit:
		f.addCollections()
	case frame.Sync:
		f.synced = append(f.synced, synced{string(rec.DID), rec.Witnessed})
	}
}

func (f *fold) addHost(rec *segmentlog.Record) {
	if len(rec.Host) == 0 {
		return
	}
	h := f.hosts[string(rec.Host)]
	if h == nil {
		h = &index.Host{Name: string(rec.Host), Epoch: rec.HostEpoch, Cursor: rec.HostFloor}
		f.hosts[h.Name] = h
	}
	h.Raise(rec.HostEpoch, rec.HostFloor)
	f.change.Host = h.Name
}

func (f *fold) addAccount(rec *segmentlog.Record) {
	f.change.Into(&f.acct)
	a := f.accounts[string(rec.DID)]
	if a == nil {
		a = new(index.Account)
		f.accounts[string(rec.DID)] = a
	}
	a.Merge(&f.acct)
}

// addCollections notes which collections a #commit made or changed records of.
func (f *fold) addCollections() {
	for i := range f.ev.Ops {
		op := &f.ev.Ops[i]
		name, _, ok := strings.Cut(op.Path, "/")
		if !ok || op.Action == "delete" || f.uses[collection{name, f.ev.DID}] || !index.ValidCollection([]byte(name)) {
			continue
		}
		f.uses[collection{strings.Clone(name), strings.Clone(f.ev.DID)}] = true
	}
}
