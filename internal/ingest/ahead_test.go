package ingest

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"testing"
)

// given is a connection that gives what it has in pieces of its own choosing, and its
// error with the last of them or after it.
type given struct {
	net.Conn
	data  []byte
	err   error
	with  bool
	piece func(most int) int
	reads int
}

func (g *given) Read(p []byte) (int, error) {
	g.reads++
	n := copy(p, g.data[:min(len(g.data), g.piece(len(p)))])
	g.data = g.data[n:]
	if len(g.data) == 0 && (g.with || n == 0) {
		return n, g.err
	}
	return n, nil
}

func TestReadingAheadChangesNoByteAndNoError(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	broken := errors.New("reset")
	for i := range 500 {
		data := make([]byte, rng.IntN(6*aheadBytes))
		for j := range data {
			data[j] = byte(rng.Uint32())
		}
		var l lender
		g := &given{data: data, err: broken, with: i%2 == 0, piece: func(most int) int {
			if rng.IntN(3) == 0 {
				return 1 + rng.IntN(most)
			}
			return most
		}}
		a := &ahead{Conn: g, from: &l}
		var got []byte
		var err error
		for err == nil {
			p := make([]byte, 1+rng.IntN(3000))
			if rng.IntN(20) == 0 {
				p = make([]byte, 2*aheadBytes)
			}
			var n int
			n, err = a.Read(p)
			got = append(got, p[:n]...)
		}
		if !errors.Is(err, broken) || !bytes.Equal(got, data) {
			t.Fatalf("%d bytes of %d, %v", len(got), len(data), err)
		}
		if l.lent.Load() != 0 {
			t.Fatalf("%d buffers are lent after the end", l.lent.Load())
		}
	}
}

func TestABacklogIsReadInLargePieces(t *testing.T) {
	const event = 4000
	g := &given{data: make([]byte, 1000*event), err: io.EOF, piece: func(most int) int { return most }}
	var l lender
	a := &ahead{Conn: g, from: &l}
	for range 1000 {
		for _, n := range []int{512, event - 512} {
			if _, err := io.ReadFull(a, make([]byte, n)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if most := 1000*event/aheadBytes + 3; g.reads > most {
		t.Errorf("%d reads for 1000 events of %d bytes, want %d at most", g.reads, event, most)
	}
}

func TestBuffersAreLentInBoundsAndReadingGoesOnWithoutThem(t *testing.T) {
	var l lender
	open := make([]*ahead, maxAhead+10)
	for i := range open {
		g := &given{data: make([]byte, 3*aheadBytes), err: io.EOF, piece: func(most int) int { return most }}
		open[i] = &ahead{Conn: g, from: &l}
		for range 2 { // the second is read ahead of
			if _, err := io.ReadFull(open[i], make([]byte, 100)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if l.lent.Load() != maxAhead {
		t.Errorf("%d buffers are lent, want %d", l.lent.Load(), maxAhead)
	}
	for i, a := range open {
		if held := a.buf != nil; held != (i < maxAhead) {
			t.Errorf("connection %d has a buffer: %v", i, held)
		}
		if i%2 == 0 {
			a.drop()
			continue
		}
		if n, err := io.Copy(io.Discard, a); err != nil || n != 3*aheadBytes-200 {
			t.Errorf("connection %d: %d bytes, %v", i, n, err)
		}
	}
	if l.lent.Load() != 0 {
		t.Errorf("%d buffers are lent in the end", l.lent.Load())
	}
}
