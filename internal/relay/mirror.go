package relay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/cistern-archive/cistern/index"
	"github.com/cistern-archive/cistern/internal/accounts"
	"github.com/cistern-archive/cistern/internal/config"
	"github.com/cistern-archive/cistern/internal/frame"
	"github.com/cistern-archive/cistern/internal/ingest"
	"github.com/cistern-archive/cistern/segmentlog"
	"github.com/cistern-archive/cistern/segmentlog/ship"
)

const (
	// lastEvents and lastBytes bound the end of the log that is asked for again when the
	// upstream relay is connected.
	lastEvents = 64
	lastBytes  = 8 << 20
	// mergeBack is how much of the log is looked through for what relays may bring again.
	mergeBack = time.Hour
)

// errMirror refuses hosts: who mirrors relays crawls none.
var errMirror = errors.New("this relay follows other relays and crawls no hosts")

// relayNames are the relays of a configuration, as the log writes them; none where hosts
// are crawled.
func relayNames(u *config.Upstream) (names []string, err error) {
	for _, url := range u.Relays {
		name, _, err := ingest.HostName(url, true)
		if err != nil {
			return nil, fmt.Errorf("--upstream-relay: %w", err)
		}
		names = append(names, name)
	}
	return names, nil
}

// numbersOf is the relay whose numbers the log has, "" for its own.
func (r *Relay) numbersOf() string {
	if !r.cfg.Upstream.KeepSeq() {
		return ""
	}
	return r.upstreams[0]
}

// relays is a Reader for the crawler that reads the relays of the configuration, and no
// hosts.
type relays struct {
	*ingest.Manager
	names []string
	opts  ingest.RelayOptions
}

// AddHost reads a relay of the configuration.
func (y *relays) AddHost(rawURL string, _ bool) error {
	name, _, err := ingest.HostName(rawURL, true)
	if err != nil {
		return err
	}
	if !slices.Contains(y.names, name) {
		return errMirror
	}
	return y.AddRelay(rawURL, y.opts)
}

// TryHost refuses.
func (y *relays) TryHost(context.Context, string, bool) error { return errMirror }

// openRelays prepares the reading of relays, once all of the log is known.
func (r *Relay) openRelays(ctx context.Context, m *ingest.Manager) (*relays, error) {
	u := &r.cfg.Upstream
	y := &relays{Manager: m, names: r.upstreams, opts: ingest.RelayOptions{KeepSeq: u.KeepSeq(), Cursor: u.Cursor, Unchecked: r.cfg.Verify == config.VerifyOff}}
	var err error
	switch {
	case y.opts.KeepSeq:
		err = r.keepSeq(ctx, &y.opts)
	case len(u.Relays) > 1:
		y.opts.Merge, err = r.openMerge(ctx)
	}
	return y, err
}

// keepSeq says where the log is in the relay's numbers.
func (r *Relay) keepSeq(ctx context.Context, o *ingest.RelayOptions) error {
	u := &r.cfg.Upstream
	tip, err := r.lastRecords(ctx)
	if err != nil {
		return err
	}
	if len(tip) > 0 {
		last := &tip[len(tip)-1]
		o.From = ingest.Position{Host: last.host, Epoch: last.epoch, Floor: last.known.Seq}
		o.Base = last.seq - last.known.Seq
	}
	o.Last = func(ctx context.Context) ([]ingest.Known, error) { return r.lastOf(ctx, o.From.Epoch) }
	switch {
	case u.Epoch > o.From.Epoch:
		o.From.Epoch, o.From.Floor = u.Epoch, u.Cursor
		if at := r.events.Tip(); at > 0 {
			o.Base = (at/ship.EpochNumbers + 1) * ship.EpochNumbers
		}
		r.log.Warn("the upstream relay is read from its beginning in a new epoch of its numbering", "upstream_epoch", u.Epoch, "its_seq_0_is", o.Base, "cursor", u.Cursor)
	case u.Epoch > 0 && u.Epoch < o.From.Epoch:
		return fmt.Errorf("--upstream-epoch %d: the log is in epoch %d of the upstream relay's numbering already", u.Epoch, o.From.Epoch)
	case len(tip) > 0 && u.Cursor > o.From.Floor:
		r.log.Warn("--upstream-cursor leaves events of the upstream relay out", "after", o.From.Floor, "through", u.Cursor)
		o.From.Floor = u.Cursor
		o.Last = func(context.Context) ([]ingest.Known, error) { return nil, nil }
	}
	return nil
}

// lastRecord is one of the log's last, as far as the upstream relay must send it again.
type lastRecord struct {
	seq   uint64
	host  string
	epoch uint64
	known ingest.Known // without Head where the frame is not as it came
	bytes int
}

// lastRecords reads the end of the log.
func (r *Relay) lastRecords(ctx context.Context) ([]lastRecord, error) {
	tip := r.events.Tip()
	if tip == 0 {
		return nil, nil
	}
	var last []lastRecord
	bytes := 0
	err := r.eachAfter(ctx, tip-min(tip, lastEvents), func(rec *segmentlog.Record) {
		one := lastRecordOf(rec)
		last = append(last, one)
		for bytes += one.bytes; bytes > lastBytes && len(last) > 1; last = last[1:] {
			bytes -= last[0].bytes
		}
	})
	return last, err
}

// eachAfter calls f with every record behind a seq up to the end of the log.
func (r *Relay) eachAfter(ctx context.Context, after uint64, f func(*segmentlog.Record)) error {
	reader := r.events.NewReader(after)
	defer reader.Close() // of a file that was only read
	var rec segmentlog.Record
	for ctx.Err() == nil {
		err := reader.Next(&rec)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("the end of the log: %w", err)
		}
		f(&rec)
	}
	return ctx.Err()
}

func lastRecordOf(rec *segmentlog.Record) lastRecord {
	one := lastRecord{seq: rec.Seq, host: string(rec.Host), epoch: rec.HostEpoch, known: ingest.Known{Seq: rec.HostSeq}}
	if rec.Digest != nil || rec.Verdict.Has(segmentlog.Rewritten) {
		return one
	}
	ev, err := frame.Parse(slices.Clone(rec.Frame))
	if err == nil {
		one.known.Head, one.known.Tail = ev.Head, ev.Tail
		one.bytes = len(rec.Frame)
	}
	return one
}

// lastOf returns the log's last events of an epoch of the upstream relay's numbering.
func (r *Relay) lastOf(ctx context.Context, epoch uint64) ([]ingest.Known, error) {
	records, err := r.lastRecords(ctx)
	var known []ingest.Known
	for i := range records {
		if records[i].epoch == epoch && records[i].known.Head != nil {
			known = append(known, records[i].known)
		}
	}
	return known, err
}

// openMerge looks through the end of the log for what another relay may bring again.
func (r *Relay) openMerge(ctx context.Context) (*ingest.Merge, error) {
	g := ingest.NewMerge()
	if r.events.Tip() == 0 {
		return g, nil
	}
	from, err := r.consumers.source.Blocks.SeqAt(ctx, time.UnixMicro(r.events.Witnessed()).Add(-mergeBack))
	if err != nil {
		return nil, err
	}
	var ev frame.Event
	return g, r.eachAfter(ctx, from, func(rec *segmentlog.Record) {
		if rec.Digest == nil && !frame.IsCommit(rec.Frame) && frame.ParseInto(rec.Frame, &ev) == nil {
			g.Note(&ev)
		}
	})
}

// keepLocal keeps in the index and for consumers what was decided about an account where
// the log has no number for it.
func (r *Relay) keepLocal(x *index.Index) func(did string, c *accounts.Change, effective accounts.Status) error {
	return func(did string, c *accounts.Change, effective accounts.Status) error {
		var a index.Account
		c.Into(&a)
		if err := x.PutAccount(context.Background(), did, &a); err != nil {
			return err
		}
		r.consumers.suppressed.Set([]byte(did), effective.Inactive)
		return nil
	}
}

// takeDownFirst has an index that may have been lost know of what an operator took down,
// before anything is served, where the log does not.
func (r *Relay) takeDownFirst(ctx context.Context, x *index.Index) error {
	for _, did := range r.journal.Takedowns() {
		if err := x.PutAccount(ctx, did, &index.Account{Set: index.Local, Local: takenDown}); err != nil {
			return fmt.Errorf("takedowns: %w", err)
		}
	}
	return nil
}
