package index

import (
	"context"
	"fmt"
)

// PutAccount merges what the log does not say into what is known of an account: a status
// of our own where the log has no numbers for it. It is lost with the index, so whoever
// knows it must say it again at each start.
func (x *Index) PutAccount(ctx context.Context, did string, a *Account) error {
	b := x.NewBatch()
	defer b.Close()
	b.Account(did, a)
	if err := b.commit(ctx); err != nil {
		return fmt.Errorf("index: %s: %w", did, err)
	}
	return nil
}
