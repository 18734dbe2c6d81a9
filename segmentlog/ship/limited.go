package ship

import (
	"context"
	"io"

	"golang.org/x/time/rate"
)

// shipPiece is how many bytes are let through at once.
const shipPiece = 256 << 10

// newLimit returns the limit of so many bytes a second, nil for 0.
func newLimit(bytes int64) *rate.Limiter {
	if bytes <= 0 {
		return nil
	}
	return rate.NewLimiter(rate.Limit(bytes), shipPiece)
}

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
