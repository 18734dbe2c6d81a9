package replay

import (
	"sync"

	"golang.org/x/sys/unix"
)

// memory is where chunks come from: pages outside the heap, since the collector would
// keep half as much again free beside them. A chunk that everyone released is used again.
type memory struct {
	mu     sync.Mutex
	free   [][]byte
	closed bool
}

// chunk returns an empty chunk with room for a frame of need bytes; its creator has a share.
func (m *memory) chunk(need int) *run {
	c := &run{events: make([]event, chunkEvents)}
	c.refs.Store(1)
	if need > chunkBytes {
		c.buf = make([]byte, need)
		return c
	}
	c.buf, c.free = m.take(), func(c *run) { m.give(c.buf) }
	return c
}

func (m *memory) take() []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	if n := len(m.free); n > 0 {
		b := m.free[n-1]
		m.free = m.free[:n-1]
		return b
	}
	return newPages()
}

func (m *memory) give(b []byte) {
	poison(b)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		freePages(b)
		return
	}
	m.free = append(m.free, b)
}

func (m *memory) close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	for _, b := range m.free {
		freePages(b)
	}
	m.free = nil
}

// newPages returns a chunk's room. Where pages cannot be had the heap gives it.
func newPages() []byte {
	if onHeap {
		return make([]byte, chunkBytes)
	}
	b, err := unix.Mmap(-1, 0, chunkBytes, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return make([]byte, chunkBytes)
	}
	return b
}

func freePages(b []byte) {
	if !onHeap {
		_ = unix.Munmap(b) // what came from the heap is not known to it, and stays there
	}
}
