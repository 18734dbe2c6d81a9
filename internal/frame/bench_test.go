package frame_test

import (
	"testing"

	"github.com/cistern-archive/cistern/internal/frame"
)

// realistic is a commit as long as the average real one: 5.4 kB, two ops.
func realistic() []byte {
	op := object(opFields()...)
	pairs := with(commitFields(), "ops", list(op, op))
	return message("#commit", with(pairs, "blocks", bytesItem(make([]byte, 4700))))
}

// BenchmarkParseInto reads a commit the way a host's reader does: into one event.
func BenchmarkParseInto(b *testing.B) {
	raw := realistic()
	var ev frame.Event
	b.ReportAllocs()
	for b.Loop() {
		if err := frame.ParseInto(raw, &ev); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkParse makes a new event of each frame.
func BenchmarkParse(b *testing.B) {
	raw := realistic()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := frame.Parse(raw); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkReencode reads a commit of a host that writes op before t.
func BenchmarkReencode(b *testing.B) {
	raw := realistic()
	header := headerOf("#commit")
	raw = append(unsorted(f("op", uintItem(1)), f("t", textItem("#commit"))), raw[len(header):]...)
	var ev frame.Event
	b.ReportAllocs()
	for b.Loop() {
		if err := frame.ParseInto(raw, &ev); err != nil || !ev.Reencoded {
			b.Fatal(err)
		}
	}
}

// BenchmarkAppendFrame splices a number into a parsed commit.
func BenchmarkAppendFrame(b *testing.B) {
	ev, err := frame.Parse(realistic())
	if err != nil {
		b.Fatal(err)
	}
	var dst []byte
	b.ReportAllocs()
	for b.Loop() {
		dst = ev.AppendFrame(dst[:0], 1<<40)
	}
}

// BenchmarkRealFrames reads the corpus round and round.
func BenchmarkRealFrames(b *testing.B) {
	frames := corpus(b)
	var ev frame.Event
	i := 0
	b.ReportAllocs()
	for b.Loop() {
		if err := frame.ParseInto(frames[i%len(frames)], &ev); err != nil {
			b.Fatal(err)
		}
		i++
	}
}
