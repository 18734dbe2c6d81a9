package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/cistern-archive/cistern/segmentlog/bucket"
)

// list returns the keys of every checkpoint, by seq.
func list(ctx context.Context, b bucket.Bucket) (map[uint64][]string, error) {
	out := map[uint64][]string{}
	for info, err := range b.List(ctx, prefix, "") {
		if err != nil {
			return nil, fmt.Errorf("checkpoints: %w", err)
		}
		if seq, ok := parseKey(info.Key); ok {
			out[seq] = append(out[seq], info.Key)
		}
	}
	return out, nil
}

func hasManifest(keys []string) bool {
	return slices.ContainsFunc(keys, func(k string) bool { return strings.HasSuffix(k, "/"+manifestName) })
}

// prune removes all but the last two checkpoints, and what a write left without a
// manifest below them.
func prune(ctx context.Context, b bucket.Bucket) error {
	all, err := list(ctx, b)
	if err != nil {
		return err
	}
	whole := 0
	for _, seq := range slices.Backward(slices.Sorted(maps.Keys(all))) {
		keys := all[seq]
		if hasManifest(keys) && whole < kept {
			whole++
			continue
		}
		if whole == 0 { // newer than any that is whole: it may be being written
			continue
		}
		slices.SortFunc(keys, func(a, b string) int { // the manifest first: then it is none
			return strings.Compare(suffixRank(a), suffixRank(b))
		})
		for _, k := range keys {
			err = errors.Join(err, b.Delete(ctx, k))
		}
	}
	return err
}

func suffixRank(key string) string {
	if strings.HasSuffix(key, "/"+manifestName) {
		return ""
	}
	return key
}
