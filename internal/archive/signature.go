package archive

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/cistern-archive/cistern/internal/frame"
	"github.com/cistern-archive/cistern/internal/signing"
	"github.com/cistern-archive/cistern/internal/verify"
	"github.com/cistern-archive/cistern/segmentlog"
)

// keysKept bounds the parsed keys that a worker keeps: about 20 MB.
const keysKept = 1 << 16

// Signed counts what the check of signatures came to.
type Signed struct {
	Verified uint64 `json:"verified"` // commits and syncs whose signature fits the key in the record
	Unsigned uint64 `json:"unsigned"` // commits and syncs whose verdict claims no signature
	Other    uint64 `json:"other"`    // identity and account events, which have none
	Erased   uint64 `json:"erased"`   // records whose frame was removed
}

// signatures has a checker for each worker, keeps them from file to file, and adds
// up what they did.
type signatures struct {
	mu       sync.Mutex
	checkers []*signatureChecker
	used     int // by the workers of the file in hand
}

// begin says that the workers of the last file have ended.
func (s *signatures) begin() { s.used = 0 }

// worker returns a check for one goroutine.
func (s *signatures) worker() func(*segmentlog.Record) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.used++
	if s.used <= len(s.checkers) {
		return s.checkers[s.used-1].check
	}
	c := &signatureChecker{keys: map[string]*signing.Key{}}
	c.verifier = verify.New(verify.Options{Now: func() time.Time { return c.witnessed }})
	s.checkers = append(s.checkers, c)
	return c.check
}

// sum adds up; the workers have ended.
func (s *signatures) sum() *Signed {
	var all Signed
	for _, c := range s.checkers {
		all.Verified += c.n.Verified
		all.Unsigned += c.n.Unsigned
		all.Other += c.n.Other
		all.Erased += c.n.Erased
	}
	return &all
}

// signatureChecker checks records for one worker.
type signatureChecker struct {
	verifier  *verify.Verifier
	witnessed time.Time // of the record in hand: the clock that row T27 is judged by
	keys      map[string]*signing.Key
	event     frame.Event
	n         Signed
}

// check verifies a record on its own: the frame can be read and is canonical, it
// is of the record's seq and account, and a commit or sync is signed by the key.
func (c *signatureChecker) check(rec *segmentlog.Record) error {
	if rec.Digest != nil {
		c.n.Erased++
		return nil
	}
	ev := &c.event
	if err := frame.ParseInto(rec.Frame, ev); err != nil {
		return fmt.Errorf("its frame cannot be read: %w", err)
	}
	switch {
	case ev.Seq != rec.Seq:
		return fmt.Errorf("its frame is of seq %d", ev.Seq)
	case ev.DID != string(rec.DID):
		return fmt.Errorf("its frame is of %s, the record of %s", ev.DID, rec.DID)
	case ev.Reencoded:
		return errors.New("its frame is not canonical")
	case ev.Kind != frame.Commit && ev.Kind != frame.Sync:
		c.n.Other++
		return nil
	case !rec.Verdict.Has(segmentlog.Signature):
		c.n.Unsigned++
		return nil
	}
	key, err := c.key(rec.Key)
	if err != nil {
		return err
	}
	c.witnessed = time.UnixMicro(rec.Witnessed)
	if err := c.verifier.Signature(ev, key); err != nil {
		return fmt.Errorf("%s of %s at rev %s: %w", ev.Type, ev.DID, ev.Rev, err)
	}
	c.n.Verified++
	return nil
}

func (c *signatureChecker) key(multicodec []byte) (*signing.Key, error) {
	if k := c.keys[string(multicodec)]; k != nil {
		return k, nil
	}
	k, err := signing.ParseMulticodec(multicodec)
	if err != nil {
		return nil, fmt.Errorf("the key in the record: %w", err)
	}
	if len(c.keys) >= keysKept {
		clear(c.keys)
	}
	c.keys[string(multicodec)] = k
	return k, nil
}
