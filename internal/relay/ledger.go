package relay

import (
	"path/filepath"
	"time"

	"github.com/cistern-archive/cistern/internal/ledger"
)

const ledgerFolder = "ledger"

// openLedger goes on with the ledger, which nothing else depends on.
func (r *Relay) openLedger() {
	keep := time.Duration(r.cfg.LedgerDays) * 24 * time.Hour
	if keep == 0 {
		keep = -1
	}
	r.ledger = ledger.Open(ledger.Options{
		Dir: filepath.Join(r.cfg.DataDir, ledgerFolder), Retention: keep, QuarantineBytes: r.cfg.Quarantine,
		Registerer: r.reg, Logger: r.log,
	})
}

// closeLedger stores what was counted, beside what else is being ended: a disk that
// does not answer must not keep the rest waiting. The channel is closed when it is done.
func (r *Relay) closeLedger() <-chan struct{} {
	closed := make(chan struct{})
	if r.ledger == nil {
		close(closed)
		return closed
	}
	go func() {
		defer close(closed)
		if err := r.ledger.Close(); err != nil {
			r.log.Warn("the newest counts of the ledger could not be stored", "err", err)
		}
	}()
	return closed
}
