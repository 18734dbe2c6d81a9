package index

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
