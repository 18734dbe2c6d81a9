package ship

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cistern-archive/cistern/segmentlog"
	"github.com/cistern-archive/cistern/segmentlog/bucket"
)

// resumes says whether the data directory is the holder that the lease names, was what
// wrote it last, and has everything that it ever showed: then it goes on in its epoch.
func (a *attaching) resumes(v *Inventory) bool {
	return a.me.began(a.lease) && a.local.Stream != nil && a.lease.Epoch == a.local.Stream.Current().Epoch &&
		a.lease.Epoch == a.stream.Current().Epoch && a.local.End >= a.shown(v)
}

// damaged is the damage of a hot file in the directory of the lease's holder. Its end is
// not known then: taking it for a restored backup would set aside all that is not
// shipped.
func (a *attaching) damaged() error {
	if a.local.Damaged == nil || a.lease.Holder != a.me.ID || a.local.Stream == nil || a.lease.Epoch != a.local.Stream.Current().Epoch {
		return nil
	}
	return fmt.Errorf("%w: restore the file, or move it away to go on in a new epoch without what only the data directory has", a.local.Damaged)
}

// shown is the last seq of the current epoch that is known to have been durable at its
// writer, 0 for none.
func (a *attaching) shown(v *Inventory) uint64 {
	if n := max(a.lease.Tip, v.LastSeq()); n >= a.stream.Current().FirstSeq {
		return n
	}
	return 0
}

// resume puts a fresh nonce into the lease.
func (a *attaching) resume(ctx context.Context) error {
	if err := a.remember(a.stream.ID); err != nil {
		return err
	}
	l := *a.lease
	l.Nonce, l.Machine, l.Tip, l.Renewed, l.Released = a.nonce, a.o.Machine, a.local.End, a.o.Now().UTC(), false
	if a.o.InitialSeq > l.Reserved-EpochNumbers/2 { // the log may go on above it
		l.Reserved = above(a.o.InitialSeq) + EpochNumbers - 1
	}
	return a.replaceLease(ctx, &l)
}

func (a *attaching) replaceLease(ctx context.Context, l *Lease) error {
	info, err := a.o.Bucket.Replace(ctx, LeaseKey, a.lv, bucket.BytesBody(l.encode()))
	if errors.Is(err, bucket.ErrChanged) {
		return fmt.Errorf("%w: %s changed while it was being taken: another process is using the archive", ErrHeld, LeaseKey)
	}
	if err != nil {
		return err
	}
	a.lease, a.lv = l, info.Version
	return nil
}

// claim takes the lease for a new epoch, unless that was done before a kill.
func (a *attaching) claim(ctx context.Context, v *Inventory) error {
	mine := a.lease.Holder == a.me.ID
	began := a.me.began(a.lease)
	if began && a.lease.Epoch > a.stream.Current().Epoch {
		if err := a.remember(a.stream.ID); err != nil {
			return err
		}
		l := *a.lease // of the epoch that was being opened
		l.Nonce, l.Renewed, l.Released = a.nonce, a.o.Now().UTC(), false
		return a.replaceLease(ctx, &l)
	}
	if began && a.lease.Epoch == a.stream.Current().Epoch && a.shown(v) == 0 {
		return a.resume(ctx) // the epoch was opened and the log was not: nothing is written in it
	}
	if !mine && !a.lease.Released && !a.o.TakeOver {
		return a.held()
	}
	if err := a.watch(ctx); err != nil {
		return err
	}
	if err := a.o.FS.MkdirAll(a.o.Dir, 0o755); err != nil {
		return err
	}
	if err := a.remember(a.stream.ID); err != nil {
		return err
	}
	now := a.o.Now().UTC()
	first := a.firstSeq(v)
	if first+EpochNumbers > segmentlog.MaxSeq {
		return segmentlog.ErrSeqExhausted
	}
	return a.replaceLease(ctx, &Lease{
		Version: 1, Stream: a.stream.ID, Epoch: max(a.lease.Epoch, a.stream.Current().Epoch) + 1, Holder: a.me.ID, Machine: a.o.Machine,
		Nonce: a.nonce, Reserved: first + EpochNumbers - 1, Since: now, Renewed: now,
	})
}

// firstSeq is where a new epoch begins: far above all that may have been reserved. The
// numbers of another log come again as they were.
func (a *attaching) firstSeq(v *Inventory) uint64 {
	if a.stream.Borrowed() {
		return max(v.LastSeq()+1, a.stream.Current().FirstSeq)
	}
	return above(max(a.lease.Reserved, a.stream.Current().FirstSeq, v.LastSeq(), a.lease.Tip, a.o.InitialSeq))
}

// held is the refusal of a log that another holds.
func (a *attaching) held() error {
	l := a.lease
	lost := ""
	if n := a.unshipped(); n > 0 {
		lost = fmt.Sprintf("; %s has %d files of its own that the archive does not: with --take-over they are set aside", a.o.Dir, n)
	}
	return fmt.Errorf("%w: %s writes stream %s in epoch %d since %s, and renewed its lease at %s (it holds the data directory of id %s, this is %s): "+
		"stop it, or give --take-over to go on here in a new epoch%s",
		ErrHeld, l.Machine, l.Stream, l.Epoch, l.Since.Format(time.RFC3339), l.Renewed.Format(time.RFC3339), l.Holder, a.me.ID, lost)
}

// unshipped counts the local files of epochs that the stream does not keep.
func (a *attaching) unshipped() int {
	n := 0
	for _, h := range a.local.Hot {
		if _, last, ok := a.stream.Kept(h.Epoch); !ok || h.FirstSeq > last {
			n++
		}
	}
	for _, s := range a.local.Sealed {
		if !a.stream.Keeps(s) {
			n++
		}
	}
	return n
}

// watch waits and refuses where the lease is renewed meanwhile: its holder lives.
func (a *attaching) watch(ctx context.Context) error {
	if a.lease.Released {
		return nil
	}
	a.log.Warn("taking the archive's log over: watching whether its holder renews the lease", "holder", a.lease.Machine,
		"since", a.lease.Since, "renewed", a.lease.Renewed, "for", a.o.Watch)
	timer := time.NewTimer(a.o.Watch)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	l, v, err := readLease(ctx, a.o.Bucket)
	if err != nil {
		return err
	}
	if l == nil || v != a.lv {
		if l != nil {
			a.lease = l
		}
		return fmt.Errorf("%w (it was renewed while it was watched for %s: its holder is alive)", a.held(), a.o.Watch)
	}
	return nil
}

// newEpoch looks again at what the archive holds, now that the lease is ours, sets
// aside what the data directory has beyond it and writes the stream's new epoch.
func (a *attaching) newEpoch(ctx context.Context) (*Inventory, error) {
	v, err := ReadInventory(ctx, a.o.Bucket, a.stream)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", a.o.Bucket, err)
	}
	stream := *a.stream
	if a.stream.Current().Epoch < a.lease.Epoch {
		first := a.lease.Reserved + 1 - EpochNumbers
		if a.stream.Borrowed() { // its last holder may have shipped meanwhile
			first = a.firstSeq(v)
		}
		e := segmentlog.Epoch{Epoch: a.lease.Epoch, FirstSeq: first, PrevLastSeq: v.LastSeq()}
		stream.Epochs = append(append([]segmentlog.Epoch(nil), stream.Epochs...), e)
		info, err := a.o.Bucket.Replace(ctx, StreamKey, a.sv, bucket.BytesBody(stream.Encode()))
		if err != nil {
			return nil, fmt.Errorf("open epoch %d: %w", e.Epoch, err)
		}
		a.stream, a.sv = &stream, info.Version
		a.log.Info("a new epoch of the log was opened", "stream", stream.ID, "epoch", e.Epoch, "first_seq", e.FirstSeq, "prev_last_seq", e.PrevLastSeq)
		if err := v.arrange(a.stream); err != nil {
			return nil, err
		}
	}
	if err := a.setAside(v); err != nil {
		return nil, err
	}
	return v, nil
}

// setAside keeps of the data directory what the archive has too.
func (a *attaching) setAside(v *Inventory) error {
	archived := make(map[segmentlog.SegmentName]bool, len(v.Entries))
	for i := range v.Entries {
		archived[v.Entries[i].Name] = true
	}
	folder := fmt.Sprintf("aside/before-epoch-%d", a.stream.Current().Epoch)
	n, err := segmentlog.SetAside(a.o.FS, a.o.Dir, folder, func(n segmentlog.SegmentName) bool { return archived[n] })
	if n > 0 {
		a.log.Warn("files that are not of the log any more were set aside: their events were not in the archive", "folder", folder, "files", n)
	}
	return err
}
