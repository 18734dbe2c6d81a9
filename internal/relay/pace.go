package relay

import (
	"context"

	"github.com/cistern-archive/cistern/internal/ingest"
)

// pacers hold reading back while any of them does.
type pacers []ingest.Pacer

// Behind implements ingest.Pacer.
func (p pacers) Behind() bool {
	for _, one := range p {
		if one.Behind() {
			return true
		}
	}
	return false
}

// Wait implements ingest.Pacer.
func (p pacers) Wait(ctx context.Context) {
	for p.Behind() && ctx.Err() == nil {
		for _, one := range p {
			one.Wait(ctx)
		}
	}
}
