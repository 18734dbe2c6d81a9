package main

import (
	"errors"
	"log/slog"
	"path/filepath"
	"testing"

	"github.com/cistern-archive/cistern/internal/config"
	"github.com/cistern-archive/cistern/segmentlog"
	"github.com/cistern-archive/cistern/segmentlog/bucket"
	"github.com/cistern-archive/cistern/segmentlog/ship"
)

func TestAnArchiveThatWasLostIsSeededAgainFromTheDataDirectory(t *testing.T) {
	dir, quiet := t.TempDir(), slog.New(slog.DiscardHandler)
	open := func(path string) bucket.Bucket {
		b, err := bucket.OpenDir(path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = b.Close() }) // nothing is left to do
		return b
	}
	lost := open(t.TempDir())
	attach := func(b bucket.Bucket, first bool) (*ship.Archive, error) {
		return ship.Attach(t.Context(), ship.Options{Bucket: b, Dir: dir, NewStream: first, Logger: quiet})
	}
	a, err := attach(lost, true)
	if err != nil {
		t.Fatal(err)
	}
	committed := make(chan struct{}, 1)
	log, err := segmentlog.Open(segmentlog.Options{
		Dir: dir, Logger: quiet, Stream: a.Stream(), MaxHotBytes: 8 << 10, OnCommit: func(segmentlog.Batch) { committed <- struct{}{} },
	})
	if err != nil {
		t.Fatal(err)
	}
	const n = 100
	for i := range n {
		if _, err := log.Append(t.Context(), &segmentlog.Entry{DID: "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa", Host: "pds.example", HostEpoch: 1, HostSeq: uint64(i), Head: []byte("frame "), Tail: make([]byte, 500)}); err != nil {
			t.Fatal(err)
		}
		<-committed
	}
	if err := errors.Join(log.Close(), a.Close()); err != nil {
		t.Fatal(err)
	}
	again := open(filepath.Join(t.TempDir(), "new"))
	if _, err := attach(again, true); !errors.Is(err, ship.ErrNoStream) {
		t.Errorf("without a word: %v", err)
	}
	cfg := config.Config{LogLevel: "error", LogFormat: "text"}
	for range 2 { // the second time there is nothing to do
		if err := archiveReseed(t.Context(), &cfg, again, dir); err != nil {
			t.Fatal(err)
		}
	}
	a, err = attach(again, false)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	if v := a.Inventory(); v.LastSeq() != n || a.Stream().Current().Epoch != 1 || len(v.Entries) < 5 {
		t.Errorf("%d segments up to %d, epoch %d", len(v.Entries), v.LastSeq(), a.Stream().Current().Epoch)
	}
}
