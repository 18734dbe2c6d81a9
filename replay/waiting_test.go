package replay

import (
	"net"
	"testing"
	"time"
)

// A consumer may owe a pong to a peer that takes nothing. What it holds then, or was
// prepared for it, is missing to others.
func TestAConsumerThatWaitsForItsSocketHoldsNothing(t *testing.T) {
	g := newRig(t, 1<<20, nil)
	g.append(5000, 1000) // most of it only in files
	g.waitFor(5000)
	mine, peer := net.Pipe()
	defer peer.Close()
	defer mine.Close()
	g.srv.opts.StallTimeout = 400 * time.Millisecond
	c := &consumer{server: g.srv, reader: g.src.NewReader(0), socket: socket{conn: mine}}
	first := c.reader
	defer first.Close()

	b, err := c.reader.Next(t.Context())
	if err != nil || b.Len() == 0 || c.reader.Tier() != Disk {
		t.Fatalf("%d events of %s, %v", b.Len(), c.reader.Tier(), err)
	}
	held := c.reader.run
	if reason := c.message(opPong, nil); reason != reasonStalled {
		t.Fatalf("the write ended as %q", reason)
	}
	if c.reader.run != nil || held.refs.Load() > 1 {
		t.Errorf("it holds a block, which has %d holders", held.refs.Load())
	}

	fresh := g.src
	fresh.Blocks = NewBlocks(g.log, 0)
	defer fresh.Blocks.Close()
	next := fresh.NewReader(0)
	defer next.Close()
	c.reader = next
	if b, err := next.Poll(); err != nil || b.Len() > 0 || !next.Loading() {
		t.Fatalf("%d events at once, %v", b.Len(), err)
	}
	<-next.Wake() // the block is there
	c.message(opPong, nil)
	if c.reader.load != nil {
		t.Error("it holds on to a block that was prepared for it")
	}
	if _, err := c.reader.Next(t.Context()); err != nil {
		t.Errorf("it cannot go on: %v", err)
	}
}
