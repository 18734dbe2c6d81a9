package segmentlog

import (
	"context"
	"crypto/rand"
	"fmt"
	"sync"
	"time"
)

const (
	logFolder = "log"
	lockFile  = "LOCK"
	// maxClockBehind is how far the wall clock may be behind the last record.
	maxClockBehind = time.Minute
)

// Open opens the log in o.Dir, or creates it, and recovers what a crash left.
//
// It returns a *CorruptError when bytes that were durable have changed,
// ErrClockBehind when the clock is wrong, and ErrVersion when a later version
// wrote the log.
func Open(o Options) (*Log, error) {
	o.EnsureDefaults()
	l := &Log{
		opts: o, dir: o.FS.PathJoin(o.Dir, logFolder),
		pending: &pendingBatch{}, spare: &pendingBatch{},
		wake: make(chan struct{}, 1), stopped: make(chan struct{}), failed: make(chan struct{}),
		sealWake: make(chan struct{}, 1), sealerDone: make(chan struct{}),
	}
	l.closeOnce = sync.OnceValue(l.close)
	l.room.L = &l.mu
	l.clock = newClockGuard(&l.opts)
	l.pending.reset()
	for _, dir := range []string{l.dir, o.FS.PathJoin(o.Dir, segmentFolder)} {
		if err := o.FS.MkdirAll(dir, 0o755); err != nil {
			return nil, fmt.Errorf("open log: %w", err)
		}
	}
	lock, err := o.FS.Lock(o.FS.PathJoin(o.Dir, lockFile))
	if err != nil {
		return nil, fmt.Errorf("open log: %s cannot be locked, is another process using it? %w", o.Dir, err)
	}
	l.lock = lock
	if err := l.load(); err != nil {
		_ = lock.Close() // the load's error says more
		return nil, fmt.Errorf("open log: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	l.stopSealer = cancel
	if o.Seal == nil {
		close(l.sealerDone)
	} else {
		go l.runSealer(ctx)
	}
	go l.run()
	return l, nil
}

func newSalt() []byte {
	salt := make([]byte, saltSize)
	_, _ = rand.Read(salt) // never fails (crypto/rand)
	return salt
}

// load reads everything that is there and decides where writing goes on.
func (l *Log) load() error {
	o := &l.opts
	initial := max(o.InitialSeq, 1)
	rec := recovery{opts: o, dir: l.dir}
	var err error
	if rec.note, err = readReservation(o.FS, o.Dir); err != nil {
		return err
	}
	names, err := rec.list()
	if err != nil {
		return err
	}
	sealed := sealedRecovery{opts: o, dir: o.FS.PathJoin(o.Dir, segmentFolder)}
	segments, err := sealed.list()
	if err != nil {
		return err
	}
	if l.stream, err = openStream(o, initial, len(names)+len(segments) == 0); err != nil {
		return err
	}
	if err := l.stream.CheckNumbering(o.Numbers); err != nil {
		return err
	}
	if err := SyncDir(o.FS, o.Dir); err != nil { // the folder of the log may be new
		return err
	}
	rec.stream, sealed.stream = l.stream, l.stream
	if segments, err = sealed.dropTrimmed(segments); err != nil {
		return err
	}
	if err := sealed.read(segments); err != nil {
		return adviseOnDamage(err)
	}
	names, done, err := sealed.split(names)
	if err != nil {
		return err
	}
	rec.leaves, rec.lastSeq, rec.witnessed = sealed.leaves, sealed.lastSeq, sealed.witnessed
	if err := rec.read(names); err != nil {
		return adviseOnDamage(err)
	}
	if behind := time.UnixMicro(rec.witnessed).Sub(o.Now()); behind > maxClockBehind {
		return fmt.Errorf("%w: by %s; the last record was witnessed at %s",
			ErrClockBehind, behind.Round(time.Second), time.UnixMicro(rec.witnessed).UTC().Format(time.RFC3339))
	}
	if err := sealed.adopt(l.dir, done); err != nil {
		return adviseOnDamage(err)
	}
	if err := rec.repair(); err != nil {
		return adviseOnSpace(err)
	}
	l.adoptFiles(&sealed, &rec)
	l.number(rec.note, rec.lastSeq, rec.clean, initial)
	return nil
}

// adoptFiles makes what recovery found the log's own.
func (l *Log) adoptFiles(sealed *sealedRecovery, rec *recovery) {
	files := make([]part, 0, len(sealed.files)+len(rec.files))
	files = append(files, sealed.files...)
	for _, h := range rec.files {
		files = append(files, h)
	}
	l.files.Store(&files)
	l.leaves, l.witnessed = rec.leaves, rec.witnessed
	l.setWriter(rec.writer)
	if len(files) > 0 {
		l.oldest.Store(files[0].firstSeq())
		l.tip.Store(rec.lastSeq)
	}
	if l.opts.Seal != nil {
		l.sealer = &sealer{fs: l.opts.FS, dir: sealed.dir, o: *l.opts.Seal, tree: sealed.tree, hurry: func() bool { return l.Closed() > 1 }}
	}
}

// adviseOnSpace says what to do when the disk is full already at the start.
func adviseOnSpace(err error) error {
	if !isNoSpace(err) {
		return err
	}
	return fmt.Errorf("%w; recovering what the last run left needs space for its last writes: free some space and start again", err)
}
