package identity

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"

	"github.com/cistern-archive/cistern/index/disposable"
)

// The keys of the meta space. Part of the format.
const (
	metaSchema = "schema" // decimal: storeSchema
	metaBehind = "behind" // Unix seconds: what was fetched by then may have been refreshed since
)

const (
	storeCache    = 32 << 20 // memory for blocks that were read, filters above all
	storeMemTable = 8 << 20
	// maxPending bounds what waits to be written, in bytes.
	maxPending = 16 << 20
	// pendingBytes is what a pending write takes beside its key and value.
	pendingBytes = 64
	// futureSlack is how far in the future a document may have been fetched: more, and
	// the clock was wrong then or is wrong now.
	futureSlack = 5 * time.Minute
)

// store is the cache on disk: documents that are of use, with when they were fetched.
// Writes are collected and written behind, so that nobody waits for them. After an
// unclean stop the last seconds of them are missing. All methods work on a nil store,
// which holds nothing.
type store struct {
	db     *disposable.Store
	log    *slog.Logger
	now    func() time.Time
	budget int64
	room   int // maxPending

	mu      sync.Mutex
	pending map[string][]byte // to be written; nil values are to be deleted
	writing map[string][]byte // the same, on its way
	bytes   int               // of pending
	grown   int64             // bytes put since the last sweep
	behind  time.Time         // see metaBehind
	full    bool              // writes are being dropped; said once

	committing  sync.Mutex // held while the database changes
	savedBehind time.Time  // the one that is stored; guarded by committing

	wake   chan struct{} // of capacity 1: something is pending
	sweeps chan struct{} // of capacity 1: it is time for a sweep
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

// openStore opens the store of the options, or does without: nil, with a line in the
// log.
func openStore(o *Options) *store {
	if o.Dir == "" {
		return nil
	}
	s := &store{
		log: o.Logger, now: o.Now, budget: o.StoreBytes, room: maxPending, pending: make(map[string][]byte),
		wake: make(chan struct{}, 1), sweeps: make(chan struct{}, 1),
	}
	opts := disposable.Options{
		Dir: o.Dir, Name: "identity store", FS: o.FS, Logger: o.Logger,
		CacheBytes: storeCache, MemTableBytes: storeMemTable, Deletes: true, Accept: s.accept,
	}
	for i := range opts.Levels {
		opts.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
	}
	db, err := disposable.Open(opts)
	if err != nil {
		o.Logger.Warn("identities are remembered in memory only", "err", err)
		return nil
	}
	s.db = db
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	s.wg.Go(func() { s.write(ctx) })
	s.wg.Go(func() { s.sweepNowAndThen(ctx) })
	return s
}

// accept says why what is there cannot be kept.
func (s *store) accept(db *disposable.Store) error {
	schema, err := metaNumber(db, metaSchema)
	if err != nil {
		return err
	}
	switch schema {
	case storeSchema:
	case 0:
		err := db.Each(disposable.Keys{}, func(_, _ []byte) error { return errors.New("it does not say what it is") })
		if err != nil {
			return err
		}
		b := db.NewBatch()
		if err := b.Set(metaKey(metaSchema), strconv.AppendInt(nil, storeSchema, 10), nil); err != nil {
			return err
		}
		return db.Commit(context.Background(), b)
	default:
		return fmt.Errorf("its layout is number %d, this program's is %d", schema, storeSchema)
	}
	behind, err := metaNumber(db, metaBehind)
	if err != nil {
		return err
	}
	if behind > 0 {
		s.behind = time.Unix(behind, 0)
		s.savedBehind = s.behind
	}
	return nil
}

func metaKey(name string) []byte { return append([]byte{spaceMeta}, name...) }

// metaNumber reads a number of the meta space, 0 when there is none.
func metaNumber(db *disposable.Store, name string) (n int64, err error) {
	_, err = db.Get(metaKey(name), func(value []byte) error {
		if n, err = strconv.ParseInt(string(value), 10, 64); err != nil || n <= 0 {
			return fmt.Errorf("its %s is %q", name, value)
		}
		return nil
	})
	return n, err
}

// remembered is what the store has of an account.
type remembered struct {
	storedDocument
	age     time.Duration
	doubted bool // it may have been refreshed since, or its age is not to be believed
}

// get reads what is stored of did. What cannot be read is not there.
func (s *store) get(did string) (remembered, bool) {
	if s == nil {
		return remembered{}, false
	}
	s.mu.Lock()
	behind := s.behind
	value, found := s.pending[did]
	if !found {
		value, found = s.writing[did]
	}
	s.mu.Unlock()
	var d storedDocument
	var err error
	if found {
		if value == nil {
			return remembered{}, false
		}
		d, err = decodeValue(value)
	} else {
		found, err = s.db.Get(documentKey(did), func(value []byte) (err error) {
			d, err = decodeValue(value)
			return err
		})
	}
	if !found || err != nil { // a store that fails has said so itself
		return remembered{}, false
	}
	age := s.now().Sub(d.fetched)
	r := remembered{storedDocument: d, age: max(age, 0), doubted: age < -futureSlack || !d.fetched.After(behind)}
	return r, true
}

// put remembers a document, soon.
func (s *store) put(did string, id *Identity) {
	if s == nil {
		return
	}
	d := storedDocument{key: id.Key, host: id.Host, hash: id.Hash, fetched: s.now()}
	s.enqueue(did, d.value())
}

// forget deletes what is stored of did, soon.
func (s *store) forget(did string) {
	if s != nil {
		s.enqueue(did, nil)
	}
}

// dead says whether the store can never be read or written again.
func (s *store) dead() bool {
	select {
	case <-s.db.Failed():
		return true
	default:
		return false
	}
}

func (s *store) enqueue(did string, value []byte) {
	size := len(did) + len(value) + pendingBytes
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dead() {
		return
	}
	if old, ok := s.pending[did]; ok {
		s.bytes -= len(did) + len(old) + pendingBytes
	} else if s.bytes+size > s.room {
		// It can never be told later which documents these were.
		s.behind = s.now()
		if !s.full {
			s.log.Warn("the identity store cannot be written fast enough; what it holds is asked for again before it is believed")
		}
		s.full = true
		return
	}
	s.pending[did] = value
	s.bytes += size
	s.grown += int64(len(did) + len(value))
	if s.grown > s.budget/4 {
		s.grown = 0
		signal(s.sweeps)
	}
	signal(s.wake)
}

// signal wakes whoever waits on a channel of capacity 1.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

const (
	// collectFor is how long writes are collected.
	collectFor = time.Second
	// persistEvery is how often what was written is made to survive a crash.
	persistEvery = 15 * time.Second
)

// write writes what is pending until ctx ends, and then the rest.
func (s *store) write(ctx context.Context) {
	persist := time.NewTicker(persistEvery)
	defer persist.Stop()
	var collected <-chan time.Time
	for {
		select {
		case <-s.wake:
			if collected == nil {
				collected = time.After(collectFor)
			}
			continue
		case <-persist.C:
			_ = s.db.Persist(ctx) // a store that fails has said so itself
			continue
		case <-collected:
			collected = nil
			if s.flush(ctx) {
				signal(s.wake)
			}
		case <-ctx.Done():
			s.flushLast()
			return
		}
	}
}

// flushLast writes what is pending when the store is about to be closed.
func (s *store) flushLast() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	s.flush(ctx)
}

// flush writes what is pending. It says whether to try again later.
func (s *store) flush(ctx context.Context) (again bool) {
	s.committing.Lock()
	defer s.committing.Unlock()
	s.mu.Lock()
	behind := s.behind
	if len(s.pending) == 0 && behind.Equal(s.savedBehind) {
		s.mu.Unlock()
		return false
	}
	s.writing, s.pending, s.bytes = s.pending, make(map[string][]byte), 0
	s.mu.Unlock()
	err := s.commit(ctx, behind)
	s.mu.Lock()
	defer s.mu.Unlock()
	writing := s.writing
	s.writing = nil
	switch {
	case err == nil:
		if s.full {
			s.log.Info("the identity store can be written again")
		}
		s.full, s.savedBehind = false, behind
		return false
	case s.dead(): // and it has said so
		return false
	}
	for did, value := range writing {
		if _, ok := s.pending[did]; !ok { // what came since is newer
			s.pending[did] = value
			s.bytes += len(did) + len(value) + pendingBytes
		}
	}
	return true
}

func (s *store) commit(ctx context.Context, behind time.Time) error {
	b := s.db.NewBatch()
	defer b.Close()
	for did, value := range s.writing { // only flush changes the field
		if err := change(b, documentKey(did), value); err != nil {
			return err
		}
	}
	if !behind.Equal(s.savedBehind) {
		if err := change(b, metaKey(metaBehind), strconv.AppendInt(nil, behind.Unix(), 10)); err != nil {
			return err
		}
	}
	return s.db.Commit(ctx, b)
}

// change writes a value, or deletes it when it is nil.
func change(b *pebble.Batch, key, value []byte) error {
	if value == nil {
		return b.Delete(key, nil)
	}
	return b.Set(key, value, nil)
}

// close writes what is pending and closes the store, within a few seconds.
func (s *store) close() {
	if s == nil {
		return
	}
	s.cancel()
	s.wg.Wait()
	if err := s.db.Close(); err != nil {
		s.log.Debug("the identity store was closed", "err", err)
	}
}
