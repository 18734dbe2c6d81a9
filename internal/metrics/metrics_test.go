package metrics

import (
	"context"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/cistern-archive/cistern/segmentlog"
)

func wantGauge(t *testing.T, reg prometheus.Gatherer, name string, want int) {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			if got := f.GetMetric()[0].GetGauge().GetValue(); got != float64(want) {
				t.Fatalf("%s is %v, want %d", name, got, want)
			}
			return
		}
	}
	t.Fatalf("%s is not exposed", name)
}

func TestAClockThatJumpedIsSeenWhileIntakeIsPaused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reg := prometheus.NewRegistry()
		began := time.Now()
		var offset atomic.Int64 // of the wall clock, ns
		l, err := segmentlog.Open(segmentlog.Options{
			Dir: "/data", FS: vfs.NewMem(), Logger: slog.New(slog.DiscardHandler), Events: LogEvents(reg),
			Now:       func() time.Time { return time.Now().Add(time.Duration(offset.Load())).Round(0) },
			Monotonic: func() time.Duration { return time.Since(began) },
		})
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		appendOne := func() {
			_, err := l.Append(context.Background(), &segmentlog.Entry{DID: "did:web:a.example"})
			done <- err
		}
		wantGauge(t, reg, "cistern_log_clock_jumped", 0)
		offset.Store(int64(time.Hour))
		go appendOne()
		synctest.Wait()
		wantGauge(t, reg, "cistern_log_clock_jumped", 1)
		offset.Store(0)
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		wantGauge(t, reg, "cistern_log_clock_jumped", 0)
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

func TestEverythingThatTheLogReportsIsCounted(t *testing.T) {
	reg := prometheus.NewRegistry()
	e := LogEvents(reg)
	for v, i := reflect.ValueOf(e), 0; i < v.NumField(); i++ {
		if v.Field(i).IsNil() {
			t.Errorf("nothing counts %s", v.Type().Field(i).Name)
		}
	}
	e.Commit(segmentlog.CommitInfo{Events: 3, Bytes: 500, Duration: time.Millisecond})
	e.NoSpace(nil)
	e.Rotate("")
	e.TornTail(segmentlog.CutInfo{Bytes: 7})
	e.ClockJump(time.Hour)
	e.Seal(segmentlog.SealInfo{Raw: 900, Size: 300, Duration: 2 * time.Second})
	e.SealFailed("", nil)
	var want strings.Builder
	var names []string
	for _, m := range []struct {
		name, kind, help string
		value            int
	}{
		{"bytes_total", "counter", "Bytes appended to hot files, marks included.", 500},
		{"clock_jumped", "gauge", "1 while intake is paused because the wall clock jumped.", 1},
		{"events_total", "counter", "Events made durable.", 3},
		{"paused", "gauge", "1 while intake is paused because the disk is full.", 1},
		{"rotations_total", "counter", "Hot files closed.", 1},
		{"seal_failures_total", "counter", "Seals that failed and are tried again.", 1},
		{"seal_seconds_total", "counter", "Time spent sealing.", 2},
		{"sealed_bytes_total", "counter", "Bytes of the segments made of them.", 300},
		{"sealed_raw_bytes_total", "counter", "Bytes of the hot files that were sealed.", 900},
		{"seals_total", "counter", "Segments sealed.", 1},
		{"torn_bytes_total", "counter", "Bytes of torn writes that the start cut.", 7},
	} {
		name := "cistern_log_" + m.name
		names = append(names, name)
		fmt.Fprintf(&want, "# HELP %[1]s %[2]s\n# TYPE %[1]s %[3]s\n%[1]s %[4]d\n", name, m.help, m.kind, m.value)
	}
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want.String()), names...); err != nil {
		t.Fatal(err)
	}
	if n, err := testutil.GatherAndCount(reg); err != nil || n != len(names)+1 { // and the histogram of commits
		t.Fatalf("%d metrics, %v", n, err)
	}
	e.SpaceBack()
	e.ClockBack()
	wantGauge(t, reg, "cistern_log_paused", 0)
	wantGauge(t, reg, "cistern_log_clock_jumped", 0)
}
