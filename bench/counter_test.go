package main

import (
	"encoding/binary"
	"testing"
)

// wire is one frame as a server sends it.
func wire(first byte, size int) []byte {
	b := []byte{first}
	switch {
	case size < 126:
		b = append(b, byte(size))
	case size < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, 126), uint16(size))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 127), uint64(size))
	}
	for i := range size {
		b = append(b, byte(i|0x80)) // would pass for the head of a frame
	}
	return b
}

// stream has every length form, pings between, and a message in three fragments.
func stream() (b []byte, events int) {
	for _, size := range []int{0, 1, 125, 126, 127, 1000, 1<<16 - 1, 1 << 16, 1<<16 + 1} {
		b = append(b, wire(0x82, size)...)
		b = append(b, wire(0x89, 3)...)
		events++
	}
	b = append(b, wire(0x02, 10)...) // begins a message
	b = append(b, wire(0x89, 0)...)
	b = append(b, wire(0x00, 10)...)
	return append(b, wire(0x80, 10)...), events + 1 // ends it
}

func TestMessagesAreCountedHoweverTheStreamIsCut(t *testing.T) {
	b, want := stream()
	for size := 1; size <= 64; size++ {
		var c frameCounter
		for rest := b; len(rest) > 0; {
			n := min(size, len(rest))
			if err := c.feed(rest[:n]); err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
		}
		if c.events != want {
			t.Errorf("pieces of %d bytes: %d messages, want %d", size, c.events, want)
		}
	}
	for cut := range 2000 { // every place in the first frames
		var c frameCounter
		for _, p := range [][]byte{b[:cut], b[cut:]} {
			if err := c.feed(p); err != nil {
				t.Fatal(err)
			}
		}
		if c.events != want {
			t.Errorf("cut at %d: %d messages, want %d", cut, c.events, want)
		}
	}
}

func TestAMessageCountsWhenItsLastByteIsThere(t *testing.T) {
	var c frameCounter
	b := wire(0x82, 300)
	if err := c.feed(b[:len(b)-1]); err != nil || c.events != 0 {
		t.Fatalf("%d messages before the end, err %v", c.events, err)
	}
	if err := c.feed(b[len(b)-1:]); err != nil || c.events != 1 {
		t.Fatalf("%d messages, err %v", c.events, err)
	}
}

func TestACloseFrameIsAnError(t *testing.T) {
	var c frameCounter
	if err := c.feed(append(wire(0x82, 5), wire(0x88, 2)...)); err == nil || c.events != 1 {
		t.Fatalf("%d messages, err %v", c.events, err)
	}
}

func FuzzCounterAgreesWithItselfInPieces(f *testing.F) {
	b, _ := stream()
	f.Add(b, 7)
	f.Fuzz(func(t *testing.T, b []byte, cut int) {
		var whole, pieces frameCounter
		werr := whole.feed(b)
		cut = min(max(cut, 0), len(b))
		perr := pieces.feed(b[:cut])
		if perr == nil {
			perr = pieces.feed(b[cut:])
		}
		if whole.events != pieces.events || (werr == nil) != (perr == nil) {
			t.Fatalf("%d and %v in one, %d and %v in two", whole.events, werr, pieces.events, perr)
		}
	})
}
