package relay

import (
	"encoding/json"
	"errors"
	"log/slog"
	"path/filepath"
	"testing"

	"github.com/cistern-archive/cistern/segmentlog"
	"github.com/cistern-archive/cistern/segmentlog/bucket"
	"github.com/cistern-archive/cistern/segmentlog/ship"
)

// Who takes a lease that was given back goes on with what the archive has: a takedown
// that is not in it would be undone.
func TestALeaseIsNotGivenBackBeforeTheLastDecisionIsInTheArchive(t *testing.T) {
	quiet := slog.New(slog.DiscardHandler)
	for what, readable := range map[string]error{"a decision that can be copied": nil, "one that cannot": errors.New("the disk failed")} {
		dir := t.TempDir()
		b, err := bucket.OpenDir(filepath.Join(dir, "archive"))
		if err != nil {
			t.Fatal(err)
		}
		held, err := ship.Attach(t.Context(), ship.Options{Bucket: b, Dir: dir, NewStream: true, Logger: quiet})
		if err != nil {
			t.Fatal(err)
		}
		log, err := segmentlog.Open(segmentlog.Options{Dir: dir, Logger: quiet, Stream: held.Stream()})
		if err != nil {
			t.Fatal(err)
		}
		a := &archive{logger: quiet, bucket: b, held: held, shipper: ship.NewShipper(ship.ShipperOptions{Archive: held, Log: log, Logger: quiet})}
		a.decisions = ship.NewMirror(held, ship.OperatorKey, func() ([]byte, error) { return []byte("{}\n"), readable }, quiet)
		if err := errors.Join(log.Close(), a.stop(0)); err != nil {
			t.Error(err)
		}
		copied, err := ship.ReadMirrored(t.Context(), b, ship.OperatorKey)
		if err != nil || (string(copied) == "{}\n") != (readable == nil) {
			t.Errorf("%s: %q, %v", what, copied, err)
		}
		raw, _, err := bucket.ReadAll(t.Context(), b, ship.LeaseKey, 1<<16)
		var lease ship.Lease
		if err = errors.Join(err, json.Unmarshal(raw, &lease)); err != nil || lease.Released != (readable == nil) {
			t.Errorf("%s: %+v, %v", what, lease, err)
		}
		if err := a.close(); err != nil {
			t.Error(err)
		}
	}
}
