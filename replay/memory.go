package replay

import (
	"slices"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// hugePage is what the kernel gives at once where it is asked to: memory that is touched
	// 4 KiB at a time costs several times what is copied into it (docs/decisions/0011-replay.md).
	hugePage = 2 << 20
	// slabBytes is how much is mapped at once.
	slabBytes = 16 << 20
)

// memory is where chunks come from: pages outside the heap, since the collector would
// keep half as much again free beside them. A chunk that everyone released is used again.
type memory struct {
	mu     sync.Mutex
	free   [][]byte
	slabs  [][]byte // as they were mapped
	used   int      // chunks that somebody has
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
	m.used++
	if len(m.free) == 0 && !m.grow() {
		return make([]byte, chunkBytes)
	}
	last := len(m.free) - 1
	b := m.free[last]
	m.free = m.free[:last]
	return b
}

// grow maps another slab, and says whether it could: else the heap gives what is needed.
func (m *memory) grow() bool {
	if onHeap {
		return false
	}
	slab, err := unix.Mmap(-1, 0, slabBytes+hugePage, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return false
	}
	at := -uintptr(unsafe.Pointer(&slab[0])) % hugePage // to where a huge page may begin
	room := slab[at : at+slabBytes]
	preferHuge(room)
	m.slabs = append(m.slabs, slab)
	m.free = slices.AppendSeq(m.free, slices.Chunk(room, chunkBytes))
	return true
}

func (m *memory) give(b []byte) {
	poison(b)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.used--
	m.free = append(m.free, b)
	m.unmap()
}

// close gives everything back, now or when the last chunk is given.
func (m *memory) close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	m.unmap()
}

func (m *memory) unmap() {
	if !m.closed || m.used > 0 {
		return
	}
	for _, slab := range m.slabs {
		_ = unix.Munmap(slab) // it is what was mapped
	}
	m.free, m.slabs = nil, nil
}
