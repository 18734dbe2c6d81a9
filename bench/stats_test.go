package main

import (
	"slices"
	"testing"
	"time"
)

func TestSpreadIsMedianLowestHighest(t *testing.T) {
	for _, c := range []struct {
		in   []float64
		want spread
	}{
		{[]float64{5}, spread{5, 5, 5}},
		{[]float64{9, 1, 4}, spread{4, 1, 9}},
		{[]float64{9, 1, 4, 6}, spread{5, 1, 9}},
	} {
		before := slices.Clone(c.in)
		if got := spreadOf(c.in); got != c.want {
			t.Errorf("spreadOf(%v) = %v, want %v", before, got, c.want)
		}
		if !slices.Equal(before, c.in) {
			t.Errorf("spreadOf changed its argument to %v", c.in)
		}
	}
}

func TestRatiosArePairByPair(t *testing.T) {
	if got := ratios([]float64{1, 6, 9}, []float64{2, 3, 9}); !slices.Equal(got, []float64{0.5, 2, 1}) {
		t.Error(got)
	}
}

func TestNumbersHaveCommasBetweenThousands(t *testing.T) {
	for _, c := range []struct {
		v        float64
		decimals int
		want     string
	}{
		{0, 0, "0"}, {999, 0, "999"}, {1000, 0, "1,000"}, {1234567, 0, "1,234,567"},
		{1234.567, 2, "1,234.57"}, {-1234, 0, "-1,234"}, {-123, 0, "-123"}, {0.266, 3, "0.266"},
	} {
		if got := number(c.v, c.decimals); got != c.want {
			t.Errorf("number(%v, %d) = %q, want %q", c.v, c.decimals, got, c.want)
		}
	}
}

func TestASampleCountsTheEventsOfAllConsumers(t *testing.T) {
	s := sample{events: 8000, logged: 1000, wall: 2 * time.Second, cpu: 16 * time.Millisecond, peak: 50e6, disk: 3_500_000}
	for name, pair := range map[string][2]float64{
		"per second": {s.perSecond(), 4000}, "CPU": {s.cpuPerEvent(), 2}, "peak": {s.peakMB(), 50}, "disk": {s.diskPerEvent(), 3500},
	} {
		if pair[0] != pair[1] {
			t.Errorf("%s: %v, want %v", name, pair[0], pair[1])
		}
	}
}
