package main

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// bucket of a histogram: how many observations were at most le.
type bucket struct {
	le    float64
	count float64
}

// histogram asks the relay for the buckets of a histogram without labels, none where it has
// no such histogram.
func (r *relay) histogram(ctx context.Context, name string) (out []bucket, err error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.metrics+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	prefix := name + `_bucket{le="`
	sc := bufio.NewScanner(resp.Body)
	for sc.Scan() {
		rest, ok := strings.CutPrefix(sc.Text(), prefix)
		if !ok {
			continue
		}
		le, count, _ := strings.Cut(rest, `"} `)
		var b bucket
		if b.le, err = strconv.ParseFloat(le, 64); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if b.count, err = strconv.ParseFloat(count, 64); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		out = append(out, b)
	}
	return out, sc.Err()
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
