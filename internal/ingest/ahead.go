package ingest

import (
	"net"
	"sync"
	"sync/atomic"
)

const (
	// aheadBytes is how much is read at once from a host that has a backlog.
	aheadBytes = 64 << 10
	// maxAhead bounds the buffers that are lent out, 4 MiB: a host that begins a message
	// and pauses keeps one for as long.
	maxAhead = 64
)

// lender lends buffers to connections that have more to give than was asked for.
type lender struct {
	lent atomic.Int32
	pool sync.Pool // of *[aheadBytes]byte
}

var aheadBuffers lender

// lend returns nil when all are lent.
func (l *lender) lend() *[aheadBytes]byte {
	if l.lent.Add(1) > maxAhead {
		l.lent.Add(-1)
		return nil
	}
	if b, ok := l.pool.Get().(*[aheadBytes]byte); ok {
		return b
	}
	return new([aheadBytes]byte)
}

func (l *lender) takeBack(b *[aheadBytes]byte) {
	l.pool.Put(b)
	l.lent.Add(-1)
}

// ahead is a connection that reads on while there is more: a backlog then costs one
// system call in 64 KiB and not two an event. It borrows a buffer for that and gives it
// back once it is empty, so that thousands of hosts that seldom send have none. One
// goroutine reads it; drop gives back what is left in the end.
type ahead struct {
	net.Conn
	from *lender // nil: it does not read ahead
	more bool    // the last read got all that it asked for

	buf  *[aheadBytes]byte // nil: none, else buf[next:end] is still to be handed out
	next int
	end  int
	err  error // that came with the last bytes
}

func (a *ahead) Read(p []byte) (int, error) {
	if a.buf == nil && a.more && a.from != nil && len(p) < aheadBytes {
		if a.buf = a.from.lend(); a.buf != nil {
			a.next = 0
			a.end, a.err = a.Conn.Read(a.buf[:])
			a.more = a.end == aheadBytes
		}
	}
	if a.buf == nil {
		n, err := a.Conn.Read(p)
		a.more = n > 0 && n == len(p)
		return n, err
	}
	n := copy(p, a.buf[a.next:a.end])
	if a.next += n; a.next < a.end {
		return n, nil
	}
	err := a.err
	a.drop()
	return n, err
}

// drop ends reading ahead; what was not handed out is gone.
func (a *ahead) drop() {
	if a.buf != nil {
		a.from.takeBack(a.buf)
		a.buf, a.err = nil, nil
	}
}
