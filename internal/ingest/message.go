package ingest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"
	"unsafe"

	"github.com/cistern-archive/cistern/internal/frame"
)

const (
	// maxFrame is the largest frame that is taken, in bytes (T2, sync page).
	maxFrame = 5_000_000
	// maxReadAway is the largest message that is read to its end only to be dropped.
	maxReadAway = 64 << 20
	// minBuffer is what a message's buffer begins with; most frames fit. It is free:
	// only a larger one counts as intake, and is not kept for the next message.
	minBuffer = 16 << 10
	// eventBytes is what an event costs in memory besides its frame and its ops.
	eventBytes = 1 << 10
)

// message is a frame as it came, and the event that was read from it, which aliases
// the buffer.
type message struct {
	buf []byte
	ev  frame.Event

	share   *share // that charged is of
	charged int64  // what the buffer counts for while it is being read and decided
}

var messages sync.Pool

func getMessage() *message {
	if m, ok := messages.Get().(*message); ok {
		return m
	}
	return &message{buf: make([]byte, 0, minBuffer)}
}

// release gives the message back. Nothing may alias it any more.
func (m *message) release() {
	m.uncharge()
	if cap(m.buf) != minBuffer {
		return
	}
	m.buf = m.buf[:0]
	m.ev.Reset()
	messages.Put(m)
}

// uncharge ends what the message counts for as one on its way in.
func (m *message) uncharge() {
	if m.charged > 0 {
		m.share.give(m.charged)
		m.charged = 0
	}
}

// size is what the message holds in memory, in bytes.
func (m *message) size() int64 {
	n := int64(cap(m.buf)) + eventBytes + int64(cap(m.ev.Ops))*int64(unsafe.Sizeof(frame.Op{}))
	if m.ev.Reencoded {
		n += int64(len(m.ev.Head) + len(m.ev.Tail))
	}
	return n
}

// compact returns the message in a buffer no larger than it must be, for a long wait.
// It may be a copy, and then m remains the caller's.
func (m *message) compact() *message {
	if len(m.buf) > cap(m.buf)/2 {
		return m
	}
	c := &message{buf: bytes.Clone(m.buf)}
	if frame.ParseInto(c.buf, &c.ev) != nil {
		return m // it was read once, and is read no other way the second time
	}
	return c
}

// roomer is asked before a message grows by n bytes beyond minBuffer, and may make it
// wait.
type roomer interface {
	room(ctx context.Context, m *message, n int64) error
}

// read fills the buffer from r. When the message is larger than maxFrame it is read
// away, and fits is false; beyond maxReadAway that is an error.
func (m *message) read(ctx context.Context, r io.Reader, in roomer) (fits bool, err error) {
	m.buf = m.buf[:0]
	for {
		if len(m.buf) == cap(m.buf) {
			if len(m.buf) > maxFrame {
				return false, readAway(r, int64(len(m.buf)))
			}
			size := min(2*cap(m.buf), maxFrame+1)
			if err := in.room(ctx, m, int64(size-cap(m.buf))); err != nil {
				return false, err
			}
			grown := make([]byte, len(m.buf), size)
			copy(grown, m.buf)
			m.buf = grown
		}
		n, err := r.Read(m.buf[len(m.buf):cap(m.buf)])
		m.buf = m.buf[:len(m.buf)+n]
		if errors.Is(err, io.EOF) {
			return len(m.buf) <= maxFrame, nil
		}
		if err != nil {
			return false, err
		}
	}
}

func readAway(r io.Reader, had int64) error {
	_, err := io.CopyN(io.Discard, r, maxReadAway-had+1)
	if errors.Is(err, io.EOF) {
		return nil
	}
	if err == nil {
		err = errEndless
	}
	return err
}
