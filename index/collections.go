package index

import (
	"bytes"
	"context"
	"fmt"
)

// maxCollection is the longest NSID, in bytes (the NSID page).
const maxCollection = 317

// ValidCollection says whether a name can be a key: an NSID has no byte that is not
// a letter, a digit, a dot or a hyphen.
func ValidCollection(name []byte) bool {
	if len(name) == 0 || len(name) > maxCollection {
		return false
	}
	for _, c := range name {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '.' && c != '-' {
			return false
		}
	}
	return true
}

func collectionKey(dst []byte, collection string) []byte {
	return append(append(append(dst, spaceCollection), collection...), 0)
}

// Collection notes that an account made or changed a record of a collection. The
// presence stays when the records go.
func (b *Batch) Collection(collection, did string) {
	b.set(collectionKey(b.key[:0], collection), did, nil)
}

// ReposByCollection lists up to limit accounts that ever had a record of the
// collection, by DID, from the first above after ("" for the start). The last one is
// the cursor of the next page; a page that is not full is the last.
func (x *Index) ReposByCollection(collection, after string, limit int) ([]string, error) {
	var dids []string
	if !ValidCollection([]byte(collection)) || limit <= 0 {
		return nil, nil
	}
	prefix := collectionKey(nil, collection)
	bounds := keys{lower: prefix, upper: successor(prefix)}
	if after != "" {
		bounds.lower = append(append(collectionKey(nil, collection), after...), 0)
	}
	err := x.each(bounds, func(key, _ []byte) error {
		dids = append(dids, string(key[len(prefix):]))
		if len(dids) == limit {
			return errEnough
		}
		return nil
	})
	return dids, err
}

// AddCollections notes that an account has records of collections, by another source than the
// log: it is lost with the index. Names that are none are left out. It is not synced; see
// Persist.
func (x *Index) AddCollections(ctx context.Context, did string, collections []string) error {
	b := x.NewBatch()
	defer b.Close()
	for _, name := range collections {
		if ValidCollection([]byte(name)) {
			b.Collection(name, did)
		}
	}
	return b.add(ctx)
}

// AddRepos does the same for many accounts and one collection.
func (x *Index) AddRepos(ctx context.Context, collection string, dids []string) error {
	b := x.NewBatch()
	defer b.Close()
	for _, did := range dids {
		b.Collection(collection, did)
	}
	return b.add(ctx)
}

func (b *Batch) add(ctx context.Context) error {
	if err := b.commit(ctx); err != nil {
		return fmt.Errorf("index: collections: %w", err)
	}
	return nil
}

// Collections returns the names of all collections that any account had a record of, in order.
func (x *Index) Collections() (names []string, err error) {
	bounds := span(spaceCollection)
	for {
		found := ""
		err := x.each(bounds, func(key, _ []byte) error {
			name, _, _ := bytes.Cut(key[1:], []byte{0})
			found = string(name)
			return errEnough
		})
		if err != nil || found == "" {
			return names, err
		}
		names = append(names, found)
		bounds.lower = successor(collectionKey(nil, found))
	}
}
