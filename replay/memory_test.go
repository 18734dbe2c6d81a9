package replay

import "testing"

func TestAChunkIsUsedAgainAndTheRingsMemoryGoesWithTheLastReader(t *testing.T) {
	var m memory
	chunks := make([]*run, 2*slabBytes/chunkBytes+1)
	for i := range chunks {
		c := m.chunk(100)
		for j := range c.buf {
			c.buf[j] = byte(i)
		}
		chunks[i] = c
	}
	for i, c := range chunks {
		if len(c.buf) != chunkBytes || c.buf[0] != byte(i) || c.buf[chunkBytes-1] != byte(i) {
			t.Fatalf("chunk %d is not its own", i)
		}
	}
	gone := &chunks[5].buf[0]
	chunks[5].release()
	if chunks[5] = m.chunk(100); &chunks[5].buf[0] != gone {
		t.Error("a chunk that was given back was not used again")
	}
	mapped := len(m.slabs)
	if want := 3; mapped != want && !onHeap {
		t.Errorf("%d slabs, want %d", mapped, want)
	}
	m.close()
	for _, c := range chunks[1:] {
		c.release()
	}
	if chunks[0].buf[chunkBytes/2] != 0 || len(m.slabs) != mapped {
		t.Error("the memory went before its last reader")
	}
	chunks[0].release()
	if m.slabs != nil || m.free != nil {
		t.Error("memory stayed mapped")
	}
}
