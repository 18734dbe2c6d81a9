package main

import (
	"fmt"
	"slices"
	"strconv"
)

// spread is the middle and the ends of some figures.
type spread struct{ median, low, high float64 }

// spreadOf sorts a copy of the figures, of which there is at least one.
func spreadOf(v []float64) spread {
	v = slices.Sorted(slices.Values(v))
	n := len(v)
	return spread{(v[(n-1)/2] + v[n/2]) / 2, v[0], v[n-1]}
}

// ratios divides pair by pair, so that what disturbed a whole round cancels out.
func ratios(a, b []float64) []float64 {
	r := make([]float64, min(len(a), len(b)))
	for i := range r {
		r[i] = a[i] / b[i]
	}
	return r
}

// show writes the spread with so many decimals, and commas between thousands.
func (s spread) show(decimals int) string {
	return fmt.Sprintf("%s (%s–%s)", number(s.median, decimals), number(s.low, decimals), number(s.high, decimals))
}

// number writes v with commas between thousands.
func number(v float64, decimals int) string {
	s := strconv.FormatFloat(v, 'f', decimals, 64)
	whole := len(s)
	if decimals > 0 {
		whole -= decimals + 1
	}
	for i := whole - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
