package relay

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/cistern-archive/cistern/internal/operator"
	"github.com/cistern-archive/cistern/segmentlog"
	"github.com/cistern-archive/cistern/segmentlog/ship"
)

// openJournal opens the operators' decisions: those of the data directory, or those of
// the archive where it has more, or others. From then on the archive has each at once.
func (r *Relay) openJournal(ctx context.Context) error {
	if err := r.restoreDecisions(ctx); err != nil {
		return fmt.Errorf("operators' decisions of the archive: %w", err)
	}
	path := filepath.Join(r.cfg.DataDir, operator.FileName)
	r.archive.decisions = ship.NewMirror(r.archive.held, ship.OperatorKey, func() ([]byte, error) {
		b, err := os.ReadFile(path)
		if errors.Is(err, os.ErrNotExist) {
			err = nil
		}
		return b[:bytes.LastIndexByte(b, '\n')+1], err // whole lines
	}, r.log)
	var err error
	r.journal, err = operator.Open(operator.Options{Dir: r.cfg.DataDir, Logger: r.log, OnDecide: r.archive.decisions.Wake})
	return err
}

// restoreDecisions takes the archive's decisions where the data directory has none, or
// fewer, or others: another holder decided since.
func (r *Relay) restoreDecisions(ctx context.Context) error {
	far, err := ship.ReadMirrored(ctx, r.archive.bucket, ship.OperatorKey)
	if err != nil {
		return err
	}
	path := filepath.Join(r.cfg.DataDir, operator.FileName)
	near, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if bytes.HasPrefix(near, far) {
		return nil
	}
	if !bytes.HasPrefix(far, near) {
		aside := path + time.Now().UTC().Format(".20060102T150405Z")
		if err := os.Rename(path, aside); err != nil {
			return err
		}
		r.log.Warn("the archive has other decisions of operators than the data directory: those of the archive are in force, the others were set aside", "file", aside)
	}
	r.log.Info("decisions of operators were restored from the archive", "lines", bytes.Count(far, []byte("\n")))
	return segmentlog.ReplaceFile(vfs.Default, r.cfg.DataDir, operator.FileName, far)
}
