package ship

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/cistern-archive/cistern/segmentlog"
	"github.com/cistern-archive/cistern/segmentlog/bucket"
)

// Errors that a person decides about; they are wrapped with what was found.
var (
	// ErrHeld means that another data directory holds the log.
	ErrHeld = errors.New("the archive's log is held by another")
	// ErrOtherStream means that archive and data directory are of different streams.
	ErrOtherStream = errors.New("the archive is of another stream")
	// ErrNoStream means that the archive has no stream.json.
	ErrNoStream = errors.New("the archive has no stream")
)

// Options says what is attached to what. Bucket and Dir are needed.
type Options struct {
	Bucket bucket.Bucket
	Dir    string // the data directory
	FS     vfs.FS // vfs.Default
	// NewStream allows a stream to be begun in an archive that has none.
	NewStream bool
	// Reseed allows the stream of a data directory to be begun again in an archive that is
	// empty, although it was archived elsewhere before.
	Reseed bool
	// TakeOver takes the log from another holder.
	TakeOver bool
	// InitialSeq is the first number of a stream that is begun.
	InitialSeq uint64
	// Numbers names the log whose numbers the records bear, "" for numbers of the log's
	// own. It must be what the stream has; which other log it is does not matter.
	Numbers string
	Machine string        // default the host name
	Watch   time.Duration // how long a lease must not be renewed before it is taken: 20 s
	Renew   time.Duration // how often a lease is renewed: 8 s
	Now     func() time.Time
	Logger  *slog.Logger
}

// EnsureDefaults fills in what is not set.
func (o *Options) EnsureDefaults() {
	if o.FS == nil {
		o.FS = vfs.Default
	}
	if o.InitialSeq == 0 {
		o.InitialSeq = 1
	}
	if o.Machine == "" {
		o.Machine, _ = os.Hostname() // for people
	}
	if o.Watch == 0 {
		o.Watch = 20 * time.Second
	}
	if o.Renew == 0 {
		o.Renew = 8 * time.Second
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
}

// lockFile is locked in the data directory while it is attached.
const lockFile = "archive.lock"

// attaching is the state of Attach.
type attaching struct {
	o      Options
	log    *slog.Logger
	me     holder
	local  segmentlog.Survey
	stream *segmentlog.Stream // the archive's
	sv     bucket.Version
	lease  *Lease
	lv     bucket.Version
	nonce  string
}

// Attach makes a data directory the writer of an archive's log, before the log is
// opened: it resumes where the directory holds the lease, begins a stream where there is
// none, and opens a new epoch where the lease was taken over or the disk was lost. It
// changes nothing where it returns ErrHeld, ErrOtherStream or ErrNoStream. A kill at any
// point is made good by the next Attach.
//
// The data directory is locked until Archive.Close: a second process on it would take the
// lease of the first.
func Attach(ctx context.Context, o Options) (*Archive, error) {
	o.EnsureDefaults()
	if err := o.FS.MkdirAll(o.Dir, 0o755); err != nil {
		return nil, err
	}
	lock, err := o.FS.Lock(o.FS.PathJoin(o.Dir, lockFile))
	if err != nil {
		return nil, fmt.Errorf("%s cannot be locked, is another process using it? %w", o.Dir, err)
	}
	a, err := attach(ctx, o)
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	a.lock = lock
	return a, nil
}

func attach(ctx context.Context, o Options) (*Archive, error) {
	a := &attaching{o: o, log: o.Logger, nonce: randomID()}
	if err := a.look(ctx); err != nil {
		return nil, err
	}
	switch {
	case a.stream == nil:
		if err := a.begin(ctx); err != nil {
			return nil, err
		}
	case a.local.Stream != nil && a.local.Stream.ID != a.stream.ID:
		return nil, fmt.Errorf("%w: %s holds stream %s (epoch %d), %s is of stream %s: give the archive that it belongs to, or an empty data directory",
			ErrOtherStream, o.Bucket, a.stream.ID, a.stream.Current().Epoch, o.Dir, a.local.Stream.ID)
	case a.local.Stream != nil && !a.stream.Continues(a.local.Stream):
		return nil, fmt.Errorf("%w: %s knows epoch %d of stream %s, %s only epoch %d: the archive is older than the data directory, restore it",
			ErrOtherStream, o.Dir, a.local.Stream.Current().Epoch, a.stream.ID, o.Bucket, a.stream.Current().Epoch)
	case a.lease == nil:
		return nil, fmt.Errorf("%w: %s has %s of stream %s, but no %s: restore it", ErrNoStream, o.Bucket, StreamKey, a.stream.ID, LeaseKey)
	}
	if err := a.checkNumbering(a.stream); err != nil {
		return nil, err
	}
	inventory, err := ReadInventory(ctx, o.Bucket, a.stream)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", o.Bucket, err)
	}
	if inventory.Beginning != nil { // the log can go on, and what there is is served
		a.log.Error("the archive has lost the beginning of its log: restore it", "archive", o.Bucket.String(), "err", inventory.Beginning)
	}
	if err := a.damaged(); err != nil {
		return nil, err
	}
	if a.resumes(inventory) {
		err = a.resume(ctx)
	} else if err = a.claim(ctx, inventory); err == nil {
		inventory, err = a.newEpoch(ctx)
	}
	if err != nil {
		return nil, err
	}
	return newArchive(a, inventory), nil
}

// checkNumbering says why the stream cannot go on as it was asked for. One that is only
// uploaded is not asked for in any way.
func (a *attaching) checkNumbering(s *segmentlog.Stream) error {
	if a.o.Reseed {
		return nil
	}
	return s.CheckNumbering(a.o.Numbers)
}

// look reads both sides.
func (a *attaching) look(ctx context.Context) error {
	var err error
	if a.me, err = readHolder(a.o.FS, a.o.Dir); err != nil {
		return err
	}
	if a.local, err = segmentlog.TakeSurvey(a.o.FS, a.o.Dir); err != nil {
		return err
	}
	if a.stream, a.sv, err = readStream(ctx, a.o.Bucket); err != nil {
		return err
	}
	a.lease, a.lv, err = readLease(ctx, a.o.Bucket)
	if err == nil && a.lease != nil && a.stream != nil && a.lease.Stream != a.stream.ID {
		err = fmt.Errorf("%s: %s is of stream %s, %s of %s", a.o.Bucket, StreamKey, a.stream.ID, LeaseKey, a.lease.Stream)
	}
	return err
}

// begin makes the stream of an archive that has none, ready to be resumed.
func (a *attaching) begin(ctx context.Context) error {
	o := &a.o
	if err := a.mayBegin(ctx); err != nil {
		return err
	}
	stream := a.local.Stream
	if stream == nil {
		s := segmentlog.NewStream(o.InitialSeq)
		s.Numbers = o.Numbers
		stream = &s
	} else if err := errors.Join(a.checkNumbering(stream), a.beginLater(stream)); err != nil {
		return err
	}
	if err := o.FS.MkdirAll(o.Dir, 0o755); err != nil {
		return err
	}
	if err := a.remember(""); err != nil { // an id that the lease can name
		return err
	}
	if err := segmentlog.ReplaceFile(o.FS, o.Dir, StreamKey, stream.Encode()); err != nil {
		return err
	}
	now := o.Now().UTC()
	l := Lease{
		Version: 1, Stream: stream.ID, Epoch: stream.Current().Epoch, Holder: a.me.ID, Machine: o.Machine, Nonce: a.nonce,
		Reserved: above(max(stream.Current().FirstSeq, a.local.End, o.InitialSeq)) + EpochNumbers - 1, Tip: a.local.End, Since: now, Renewed: now,
	}
	if a.lease == nil {
		info, err := o.Bucket.Create(ctx, LeaseKey, bucket.BytesBody(l.encode()))
		if errors.Is(err, bucket.ErrExists) {
			return fmt.Errorf("%w: %s: somebody else began a stream there at the same time; start again to see who", ErrHeld, o.Bucket)
		}
		if err != nil {
			return err
		}
		a.lease, a.lv = &l, info.Version
	}
	info, err := o.Bucket.Create(ctx, StreamKey, bucket.BytesBody(stream.Encode()))
	if err != nil {
		return err
	}
	a.stream, a.sv, a.local.Stream = stream, info.Version, stream
	a.log.Info("a stream was begun in the archive", "archive", o.Bucket.String(), "stream", stream.ID)
	return nil
}

// beginLater notes what a stream that is begun again has lost before what is local.
func (a *attaching) beginLater(s *segmentlog.Stream) error {
	seq, leaf, err := a.local.Beginning(a.o.FS, a.o.Dir)
	if err == nil && leaf > s.TrimmedLeaves && seq > s.TrimmedThrough {
		s.TrimmedThrough, s.TrimmedLeaves = seq-1, leaf
	}
	return err
}

// mayBegin says whether a stream may be begun.
func (a *attaching) mayBegin(ctx context.Context) error {
	o := &a.o
	if a.lease != nil && a.lease.Holder == a.me.ID && a.local.Stream != nil && a.lease.Stream == a.local.Stream.ID {
		return nil // it was being begun
	}
	what := "is empty"
	for info, err := range o.Bucket.List(ctx, "", "") {
		if err != nil {
			return err
		}
		if strings.HasPrefix(info.Key, bucket.ProbePrefix) {
			continue // a start was killed while it tried the bucket
		}
		what = fmt.Sprintf("has %s but no %s", info.Key, StreamKey)
		break
	}
	switch {
	case what != "is empty":
		return fmt.Errorf("%w: %s %s: give the right archive, or restore that file", ErrNoStream, o.Bucket, what)
	case o.Reseed && a.local.Stream == nil:
		return fmt.Errorf("%w: %s holds no stream that could be uploaded", ErrNoStream, o.Dir)
	case o.Reseed:
		return nil
	case a.me.Stream != "":
		return fmt.Errorf("%w: %s %s, but %s was archived in %s before: give the right archive, or upload what is local with `cistern archive reseed`",
			ErrNoStream, o.Bucket, what, o.Dir, a.me.Archive)
	case !o.NewStream:
		return fmt.Errorf("%w: %s %s: give the right archive, or start once with --new-stream to begin one there", ErrNoStream, o.Bucket, what)
	}
	return nil
}

// remember writes what the data directory must know before the archive is changed.
func (a *attaching) remember(stream string) error {
	a.me.Stream, a.me.Archive = stream, a.o.Bucket.String()
	if a.lease != nil && a.me.began(a.lease) { // else a kill here would make it look so
		a.me.Nonce = a.lease.Nonce
	}
	a.me.Next = a.nonce
	return a.me.write(a.o.FS, a.o.Dir)
}

// above returns the next multiple of EpochNumbers above n.
func above(n uint64) uint64 { return (n/EpochNumbers + 1) * EpochNumbers }
