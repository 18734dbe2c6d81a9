package netsim

import (
	"encoding/binary"
	"fmt"
	"os"
	"slices"
	"sync"
)

// spool is a file of frames, each as [u32 LE length][frame]. Frames stay on disk so
// that a long run does not fill memory.
type spool struct {
	f    *os.File
	mu   sync.Mutex
	size int64
	buf  []byte
}

// newSpool makes a spool in a temporary file that has no name any more.
func newSpool(dir string) (*spool, error) {
	f, err := os.CreateTemp(dir, "netsim-*.frames")
	if err != nil {
		return nil, fmt.Errorf("create spool: %w", err)
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, fmt.Errorf("unlink spool: %w", err)
	}
	return &spool{f: f}, nil
}

// append writes a frame and returns where it begins (after its length).
func (s *spool) append(frame []byte) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.buf = binary.LittleEndian.AppendUint32(s.buf[:0], uint32(len(frame)))
	s.buf = append(s.buf, frame...)
	if _, err := s.f.WriteAt(s.buf, s.size); err != nil {
		return 0, fmt.Errorf("write spool: %w", err)
	}
	off := s.size + 4
	s.size += int64(len(s.buf))
	return off, nil
}

// appendTo reads n bytes at off and appends them to dst.
func (s *spool) appendTo(dst []byte, off int64, n int) ([]byte, error) {
	at := len(dst)
	dst = slices.Grow(dst, n)[:at+n]
	if _, err := s.f.ReadAt(dst[at:], off); err != nil {
		return dst[:at], fmt.Errorf("read spool: %w", err)
	}
	return dst, nil
}

func (s *spool) close() error { return s.f.Close() }
