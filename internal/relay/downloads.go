package relay

import (
	"context"
	"io"
	"net/http"
	"os"
	"sync"

	"github.com/cistern-archive/cistern/index"
	"github.com/cistern-archive/cistern/internal/accounts"
	"github.com/cistern-archive/cistern/internal/downloads"
	"github.com/cistern-archive/cistern/segmentlog"
	"github.com/cistern-archive/cistern/segmentlog/fetch"
	"github.com/cistern-archive/cistern/segmentlog/ship"
)

// downloads returns the handler of the archive's files, nil when they are not served.
func (r *Relay) downloads() http.Handler {
	if r.cfg.Archive.Downloads == "off" {
		return nil
	}
	return downloads.NewHandler(downloads.Options{
		Stream:  func() segmentlog.Stream { return *r.archive.held.Stream() },
		Catalog: r.archive.shipper.Catalog, Find: r.archive.shipper.Find,
		Open: r.openSegment, Suppressed: r.intake.suppressed, Logger: r.log,
	})
}

// openSegment opens a segment where it is nearest.
func (r *Relay) openSegment(ctx context.Context, e ship.Entry) (downloads.File, error) {
	for _, f := range r.events.Sealed(e.Name.FirstSeq - 1) {
		if f.Name != e.Name {
			continue
		}
		if local, err := os.Open(f.Path); err == nil { // else it was evicted meanwhile
			return local, nil
		}
		break
	}
	f, err := r.archive.open(e.Archived())
	if err != nil {
		return nil, err
	}
	switch f := f.(type) {
	case *os.File:
		return f, nil
	case *fetch.Object:
		return remoteSegment{io.NewSectionReader(f.WithContext(ctx), 0, e.Bytes), f}, nil
	}
	return remoteSegment{io.NewSectionReader(f, 0, e.Bytes), f}, nil
}

// remoteSegment is a segment of the bucket.
type remoteSegment struct {
	*io.SectionReader
	f segmentlog.ArchivedFile
}

func (s remoteSegment) Close() error { return s.f.Close() }

// suppressed calls f with every account that is not active.
func (in *intake) suppressed(ctx context.Context, f func(did, status string) error) error {
	x, err := in.derived()
	if err != nil {
		return err
	}
	var mu sync.Mutex
	return x.Accounts(ctx, 1, func(did []byte, a *index.Account) error {
		status := accounts.Account{Upstream: a.Upstream, Local: a.Local}.Effective()
		if !status.Inactive {
			return nil
		}
		mu.Lock()
		defer mu.Unlock()
		return f(string(did), status.Reason)
	})
}
