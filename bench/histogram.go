package main

import (
	"context"
	"errors"
	"strconv"
	"strings"
)

// bucket of a histogram: how many observations were at most le.
type bucket struct {
	le    float64
	count float64
}

// histogram asks the relay for the buckets of a histogram without labels, none where it has
// no such histogram.
func (r *relay) histogram(ctx context.Context, name string) (out []bucket, err error) {
	var failed error
	err = r.samples(ctx, func(sample string, count float64) bool {
		le, ok := strings.CutPrefix(sample, name+`_bucket{le="`)
		if !ok {
			return true
		}
		b := bucket{count: count}
		b.le, failed = strconv.ParseFloat(strings.TrimSuffix(le, `"}`), 64)
		out = append(out, b)
		return failed == nil
	})
	return out, errors.Join(err, failed)
}

// quantileBetween is the bound of the bucket that holds a quantile of what was observed
// between two looks, 0 where nothing was.
func quantileBetween(before, after []bucket, q float64) float64 {
	if len(after) == 0 || len(before) != len(after) {
		return 0
	}
	total := after[len(after)-1].count - before[len(before)-1].count
	for i := range after {
		if total > 0 && after[i].count-before[i].count >= q*total {
			return after[i].le
		}
	}
	return 0
}
