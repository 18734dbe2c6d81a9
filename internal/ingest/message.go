package ingest

import (
	"errors"
	"io"
	"sync"

	"github.com/cistern-archive/cistern/internal/frame"
)

const (
	// maxFrame is the largest frame that is taken, in bytes (T2, sync page).
	maxFrame = 5_000_000
	// maxReadAway is the largest message that is read to its end only to be dropped.
	maxReadAway = 64 << 20
	// minBuffer is what a message's buffer begins with; most frames fit.
	minBuffer = 16 << 10
	// maxPooled is the largest buffer that is kept for the next message.
	maxPooled = 512 << 10
)

// message is a frame as it came, and the event that was read from it, which aliases
// the buffer.
type message struct {
	buf []byte
	ev  frame.Event
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
	if cap(m.buf) > maxPooled {
		return
	}
	m.buf = m.buf[:0]
	m.ev.Reset()
	messages.Put(m)
}

// size is what the message holds in memory, in bytes.
func (m *message) size() int64 { return int64(cap(m.buf)) }

// read fills the buffer from r. When the message is larger than maxFrame it is read
// away, and fits is false; beyond maxReadAway that is an error.
func (m *message) read(r io.Reader) (fits bool, err error) {
	m.buf = m.buf[:0]
	for {
		if len(m.buf) == cap(m.buf) {
			if len(m.buf) > maxFrame {
				return false, readAway(r, int64(len(m.buf)))
			}
			grown := make([]byte, len(m.buf), min(2*cap(m.buf), maxFrame+1))
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
