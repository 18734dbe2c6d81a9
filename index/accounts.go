package index

import (
	"bytes"
	"context"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
)

// Account says what a run of records, the next after all that were applied, changes
// of an account.
func (b *Batch) Account(did string, change *Account) {
	change.bound(false)
	b.merge(append(b.key[:0], spaceAccount), did, change.append(b.value[:0]))
}

// Account returns what is known of an account, and whether anything is.
func (x *Index) Account(did string) (a Account, found bool, err error) {
	found, err = x.get(append([]byte{spaceAccount}, did...), func(value []byte) error {
		return a.decode(value, nil)
	})
	return a, found, err
}

// Accounts walks over all accounts with as many goroutines as parallel says, which
// call f at once and each in order of its own part. What f is given lives until it
// returns, but for the strings of the Account. The first error ends the walk.
func (x *Index) Accounts(ctx context.Context, parallel int, f func(did []byte, a *Account) error) error {
	parts := accountParts()
	var next atomic.Int64
	group, ctx := errgroup.WithContext(ctx)
	for range max(parallel, 1) {
		group.Go(func() error {
			w := accountWalk{ctx: ctx, f: f, in: make(names)}
			for i := next.Add(1) - 1; i < int64(len(parts)); i = next.Add(1) - 1 {
				if err := x.each(parts[i], w.one); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return group.Wait()
}

// AccountsAfter walks over the accounts above a DID, in order, until f returns false. What f
// is given lives until it returns, but for the strings of the Account.
func (x *Index) AccountsAfter(ctx context.Context, after string, f func(did []byte, a *Account) bool) error {
	bounds := span(spaceAccount)
	if after != "" {
		bounds.lower = append(append(bounds.lower[:1:1], after...), 0)
	}
	w := accountWalk{ctx: ctx, in: make(names), f: func(did []byte, a *Account) error {
		if !f(did, a) {
			return errEnough
		}
		return nil
	}}
	return x.each(bounds, w.one)
}

// accountWalk is one goroutine's part of a walk.
type accountWalk struct {
	ctx context.Context
	f   func(did []byte, a *Account) error
	in  names
	a   Account
	n   int
}

func (w *accountWalk) one(key, value []byte) error {
	if w.n++; w.n%1024 == 0 && w.ctx.Err() != nil {
		return w.ctx.Err()
	}
	if err := w.a.decode(value, w.in); err != nil {
		return err
	}
	return w.f(key[1:], &w.a)
}

// accountParts cuts the space of accounts into parts that are about as large:
// nearly all DIDs are did:plc, whose first character is evenly spread.
func accountParts() []keys {
	const alphabet = "234567abcdefghijklmnopqrstuvwxyz" // base32, in order
	all := span(spaceAccount)
	var parts []keys
	for i := range len(alphabet) {
		cut := append([]byte{spaceAccount}, "did:plc:"+alphabet[i:i+1]...)
		parts = append(parts, keys{lower: all.lower, upper: cut})
		all.lower = bytes.Clone(cut)
	}
	return append(parts, all)
}
