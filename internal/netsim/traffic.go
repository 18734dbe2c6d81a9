package netsim

import (
	"fmt"
	"slices"
)

// Step emits one event of the usual mix (an account of the network's choice, a
// commit most of the time), with the dialects, lies and churn that the options ask
// for. Now and then it is a short run of events that belong together.
func (n *Network) Step() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	a, err := n.pick()
	if err != nil {
		return err
	}
	switch {
	case n.opts.LieRate > 0 && n.rng.Float64() < n.opts.LieRate:
		return a.host.tell(a, randomLie(n.rng))
	case n.opts.Churn > 0 && n.rng.Float64() < n.opts.Churn:
		return n.churn(a)
	}
	return n.speak(a)
}

// speak emits a commit in the host's manner.
func (n *Network) speak(a *Account) error {
	h := a.host
	switch {
	case len(h.dialects) > 0:
		return h.speak(a, h.dialects[h.rng.IntN(len(h.dialects))])
	case n.opts.DialectRate > 0 && n.rng.Float64() < n.opts.DialectRate:
		return h.speak(a, randomDialect(n.rng))
	}
	_, err := h.commit(a, shape{})
	return err
}

// pick chooses an active account by its rank, or the next that is active.
func (n *Network) pick() (*Account, error) {
	if n.replayed || n.zipf == nil {
		return nil, fmt.Errorf("this network has no accounts that can emit")
	}
	rank := int(n.zipf.Uint64())
	for i := range n.ranks {
		if a := n.accounts[n.ranks[(rank+i)%len(n.ranks)]]; a.status == "" {
			return a, nil
		}
	}
	return nil, fmt.Errorf("no account is active")
}

// churn emits something that is not a commit.
func (n *Network) churn(a *Account) error {
	h := a.host
	var err error
	switch k := h.rng.IntN(100); {
	case k < 40:
		if err = a.ensureRepo(); err == nil {
			_, err = h.identity(a)
		}
	case k < 60:
		_, err = h.account(a)
	case k < 80:
		_, err = h.sync(a)
	case n.opts.Settled:
		_, err = h.account(a)
	case n.settled:
		_, err = h.sync(a)
	case k < 90:
		_, err = n.createAccount(h)
	default:
		if err = h.leave(a, "deactivated"); err == nil {
			err = h.comeBack(a)
		}
	}
	return err
}

// randomOps drafts the operations of one commit: mostly one create, some deletes and
// updates, a few commits of several operations.
func (a *Account) randomOps(r *repo, at int64) []op {
	count := 1
	if a.rng.IntN(12) == 0 {
		count = 2 + a.rng.IntN(6)
	}
	ops := make([]op, 0, count)
	for i := range count {
		o := a.randomOp(r, at+int64(i))
		if !slices.ContainsFunc(ops, func(p op) bool { return p.path == o.path }) {
			ops = append(ops, o)
		}
	}
	return ops
}

func (a *Account) randomOp(r *repo, at int64) op {
	switch k := a.rng.IntN(100); {
	case k < 10 && len(r.paths) > 4:
		return op{action: "delete", path: r.paths[a.rng.IntN(len(r.paths))]}
	case k < 13 && len(r.paths) > 4:
		path := r.paths[a.rng.IntN(len(r.paths))]
		return a.write("update", path, at)
	case k < 15:
		action := "create"
		if slices.Contains(r.paths, pathProfile) {
			action = "update"
		}
		return a.write(action, pathProfile, at)
	}
	path := randomCollection(a.rng) + "/" + tid(at, uint(a.rng.IntN(1024)))
	return a.write("create", path, at)
}

// write makes a create or update with a new record.
func (a *Account) write(action, path string, at int64) op {
	other := a.net.accounts[a.rng.IntN(len(a.net.accounts))].DID
	b := newBlock(newRecord(a.rng, collectionOf(path), other, at))
	return op{action: action, path: path, cid: b.cid, record: b.data}
}

func collectionOf(path string) string {
	for i := range path {
		if path[i] == '/' {
			return path[:i]
		}
	}
	return path
}
