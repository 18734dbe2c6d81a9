package segmentlog_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/cistern-archive/cistern/segmentlog"
)

// exampleLog returns a log in memory that holds three events.
func exampleLog() (*segmentlog.Log, error) {
	durable := make(chan uint64, 3)
	l, err := segmentlog.Open(segmentlog.Options{
		Dir: "/data", FS: vfs.NewMem(), Logger: slog.New(slog.DiscardHandler),
		OnCommit: func(b segmentlog.Batch) { durable <- b.Seq(b.Len() - 1) },
	})
	if err != nil {
		return nil, err
	}
	for _, did := range []string{"did:web:a.example", "did:web:b.example", "did:web:c.example"} {
		e := segmentlog.Entry{DID: did, Head: []byte("the frame up to its seq, "), Tail: []byte(" and the rest")}
		if _, err := l.Append(context.Background(), &e); err != nil {
			return nil, errors.Join(err, l.Close())
		}
	}
	for <-durable < 3 {
	}
	return l, nil
}

// A Reader goes through the log in order, from any cursor up to the durable tip.
func ExampleLog_NewReader() {
	l, err := exampleLog()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer l.Close()
	r := l.NewReader(1)
	defer r.Close()
	for {
		var rec segmentlog.Record
		err := r.Next(&rec)
		if errors.Is(err, io.EOF) {
			break // call Next again when there may be more
		}
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Printf("%d %s\n", rec.Seq, rec.DID)
	}
	// Output:
	// 2 did:web:b.example
	// 3 did:web:c.example
}

// Chunks of the log can be decoded by several goroutines at once.
func ExampleLog_Chunks() {
	l, err := exampleLog()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer l.Close()
	chunks := make(chan *segmentlog.Chunk)
	var records atomic.Int64
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			var buf segmentlog.BlockBuffer // one a goroutine
			for c := range chunks {
				for _, err := range c.Records(&buf) {
					if err != nil {
						fmt.Println(err)
						break
					}
					records.Add(1)
				}
			}
		})
	}
	for c, err := range l.Chunks(0) {
		if err != nil {
			fmt.Println(err)
			break
		}
		chunks <- c
	}
	close(chunks)
	wg.Wait()
	fmt.Println(records.Load(), "records")
	// Output: 3 records
}
