package replay_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"

	"github.com/cistern-archive/cistern/replay"
	"github.com/cistern-archive/cistern/segmentlog"
)

// A log, the ring that follows it, and a reader that finds events in either.
func Example() {
	dir, err := os.MkdirTemp("", "cistern")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	var ring *replay.Ring
	log, err := segmentlog.Open(segmentlog.Options{Dir: dir, Logger: slog.New(slog.DiscardHandler),
		OnCommit: func(b segmentlog.Batch) { ring.Publish(b) }})
	if err != nil {
		panic(err)
	}
	ring = replay.NewRing(64<<20, log.Tip())
	source := replay.Source{Log: log, Ring: ring, Blocks: replay.NewBlocks(log, 64<<20)}

	for i := range 3 { // the seq is put between Head and Tail
		e := segmentlog.Entry{DID: "did:plc:x", Host: "pds.example", HostSeq: uint64(i), Head: []byte("event "), Tail: []byte("!")}
		if _, err := log.Append(context.Background(), &e); err != nil {
			panic(err)
		}
	}
	reader := source.NewReader(1) // everything above seq 1
	for reader.Position() < 3 {
		batch, err := reader.Next(context.Background())
		if err != nil {
			panic(err)
		}
		for seq, frame := range batch.All() {
			fmt.Printf("%d %d bytes\n", seq, len(frame))
		}
	}
	reader.Close()
	if err := log.Close(); err != nil {
		panic(err)
	}
	source.Blocks.Close()
	ring.Close()
	// Output:
	// 2 8 bytes
	// 3 8 bytes
}
