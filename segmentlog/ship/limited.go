package ship

import (
	"context"
	"io"

	"golang.org/x/time/rate"
)

// shipPiece is how many bytes are let through at once.
const shipPiece = 256 << 10

// limited is a reader that waits for what the limit allows.
type limited struct {
	ctx   context.Context
	r     io.ReaderAt
	limit *rate.Limiter
}

func (l *limited) ReadAt(p []byte, off int64) (n int, err error) {
	for n < len(p) && err == nil {
		piece := p[n:min(len(p), n+shipPiece)]
		if err := l.limit.WaitN(l.ctx, len(piece)); err != nil {
			return n, err
		}
		var m int
		m, err = l.r.ReadAt(piece, off+int64(n))
		n += m
	}
	return n, err
}
