package derive

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/cistern-archive/cistern/index"
	"github.com/cistern-archive/cistern/segmentlog"
)

// rig is a log in memory and what follows it.
type rig struct {
	t   testing.TB
	fs  *vfs.MemFS
	log *segmentlog.Log
	reg *prometheus.Registry

	mu       sync.Mutex
	follower *Follower
}

func newRig(t testing.TB) *rig {
	t.Helper()
	r := &rig{t: t, fs: vfs.NewMem(), reg: prometheus.NewRegistry()}
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).UnixMilli()
	log, err := segmentlog.Open(segmentlog.Options{
		Dir: "/log", FS: r.fs, Logger: slog.New(slog.DiscardHandler), MaxHotBytes: 1 << 20,
		Seal: &segmentlog.SegmentOptions{BlockSize: 64 << 10},
		Now: func() time.Time { // from one goroutine that appends; each record is 50 ms later
			r.mu.Lock()
			defer r.mu.Unlock()
			now += 50
			return time.UnixMilli(now)
		},
		OnCommit: func(segmentlog.Batch) {
			r.mu.Lock()
			defer r.mu.Unlock()
			if r.follower != nil {
				r.follower.Notify()
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	r.log = log
	t.Cleanup(func() {
		if err := log.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

func (r *rig) append(entries ...segmentlog.Entry) (last uint64) {
	r.t.Helper()
	for i := range entries {
		seq, err := r.log.Append(r.t.Context(), &entries[i])
		if err != nil {
			r.t.Fatal(err)
		}
		last = seq
	}
	return last
}

// durable waits until a record is.
func (r *rig) durable(seq uint64) {
	r.t.Helper()
	for deadline := time.After(patience); r.log.Tip() < seq; {
		select {
		case <-time.After(time.Millisecond):
		case <-deadline:
			r.t.Fatalf("seq %d does not become durable", seq)
		}
	}
}

func (r *rig) openIndex(fs vfs.FS) *index.Index {
	r.t.Helper()
	stream := r.log.Stream()
	x, err := index.Open(index.Options{
		Dir: "/index", FS: fs, Logger: slog.New(slog.DiscardHandler), Stream: stream.ID, Tip: r.log.Tip(), Epochs: stream.Epochs,
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return x
}

// follow runs a follower of x; stop ends it and returns Run's error.
func (r *rig) follow(x *index.Index, change func(*Options)) (f *Follower, stop func() error) {
	o := Options{Log: r.log, Index: x, Every: time.Microsecond, Registerer: r.reg}
	if change != nil {
		change(&o)
	}
	f = New(o)
	r.mu.Lock()
	r.follower = f
	r.mu.Unlock()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	return f, func() error {
		cancel()
		return <-done
	}
}

func (r *rig) mustCatchUp(f *Follower, seq uint64) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if !f.CaughtUp(ctx, seq) {
		r.t.Fatalf("seq %d is not applied", seq)
	}
}
