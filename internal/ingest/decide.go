package ingest

import (
	"errors"
	"strings"

	"github.com/cistern-archive/cistern/internal/accounts"
	"github.com/cistern-archive/cistern/internal/frame"
	"github.com/cistern-archive/cistern/internal/identity"
	"github.com/cistern-archive/cistern/internal/signing"
	"github.com/cistern-archive/cistern/internal/verify"
	"github.com/cistern-archive/cistern/segmentlog"
)

// subject is an event under decision, and what was found out about it so far.
type subject struct {
	ev  *frame.Event
	win *window

	id    identity.Identity
	idErr error // nil, ErrGone or ErrUnusable

	refreshed  bool           // the document was asked for anew because of T13
	rekeyed    bool           // likewise because of T26
	changed    bool           // an #identity's refresh brought another document
	lookedBack bool           // the keys of the past were asked for because of T26 …
	past       []*signing.Key // … and these were valid at the rev's time
	reserved   bool           // the account is counted as one of the host's already
	asked      bool           // the host was asked for the account's status …
	active     bool           // … and said active
	waited     bool           // of a relay's event: it need not wait for what is missing before it
	unanswered bool           // of a relay's event: nobody says what the key is
}

// question is what must be asked of somebody before an event can be decided.
type question uint8

const (
	nothing     question = iota
	newDocument          // T13: the document may have changed its host
	newKey               // T26: the document may have changed its key
	pastKeys             // T26: the event may be from before the last change of keys
	repoStatus           // T15: the account may be active again
)

// outcome of a decision: accepted when it is zero.
type outcome struct {
	rej *verify.Rejection // why not; with a question, what holds if it is not asked
	ask question
	// undecided: the log takes nothing more. The event is not in the log and must not
	// count as done.
	undecided bool
	// park: events of the account are missing before it that another relay may bring.
	park bool
}

var duplicate = &verify.Rejection{Row: 9, Action: verify.Ignore, Reason: "duplicate"}

func rejected(row int, action verify.Action, reason string, err error) outcome {
	return outcome{rej: &verify.Rejection{Row: row, Action: action, Reason: reason, Err: err}}
}

func (o outcome) unless(q question) outcome {
	o.ask = q
	return o
}

// decide holds the account, checks the event against what the log knows of it, and
// appends it or says why not. It asks nobody anything.
func (h *host) decide(s *subject) outcome {
	held, err := h.m.accounts.Acquire(s.ev.DID)
	if err != nil {
		h.m.fail(err)
		return outcome{undecided: true}
	}
	defer held.Release()
	defer h.unreserve(s)
	if held.Seen(h.addr.name, s.win.epoch, s.ev.Seq) { // T9
		return outcome{rej: duplicate}
	}
	if out := h.tombstone(s, &held); out.undecided {
		return out
	}
	switch s.ev.Kind {
	case frame.Commit, frame.Sync:
		return h.decideRepo(s, &held)
	case frame.Account:
		return h.decideAccount(s, &held)
	case frame.Identity:
		return h.decideIdentity(s, &held)
	}
	return rejected(3, verify.Ignore, "unknown_message", nil)
}

// decideRepo decides a #commit or #sync.
func (h *host) decideRepo(s *subject, held *accounts.Held) outcome {
	if out := h.document(s); out.rej != nil {
		return out
	}
	if out := h.hostAuthority(s); out.rej != nil {
		return out
	}
	if out := h.accountLimit(s, held); out.undecided {
		return out
	}
	acct := held.Account()
	if out := localStatus(&acct); out.rej != nil {
		return out
	}
	if out := h.upstreamStatus(s, held, &acct); out.rej != nil || out.undecided {
		return out
	}
	res, key, err := h.verify(s, acct.Repo)
	if err != nil {
		return signature(s, err)
	}
	return h.append(s, held, key.Multicodec(), res.Verdict, res.State, nil)
}

// verify checks the event with the account's key, and with those of its past that were
// asked for.
func (h *host) verify(s *subject, repo accounts.Repo) (verify.Result, *signing.Key, error) {
	v := h.m.verifier()
	defer h.m.verifiers.Put(v)
	check := v.Commit
	if s.ev.Kind == frame.Sync {
		check = v.Sync
	}
	res, err := check(s.ev, s.id.Key, repo)
	if !errors.Is(err, verify.ErrSignature) {
		return res, s.id.Key, err
	}
	for _, key := range s.past {
		if past, pastErr := check(s.ev, key, repo); !errors.Is(pastErr, verify.ErrSignature) {
			past.Verdict |= segmentlog.PastKey
			return past, key, pastErr
		}
	}
	return res, s.id.Key, err
}

// verifier returns one of verifiers, to be put back.
func (m *Manager) verifier() *verify.Verifier {
	if v, ok := m.verifiers.Get().(*verify.Verifier); ok {
		return v
	}
	return verify.New(verify.Options{Lenient: m.opts.Lenient, Now: m.opts.Now})
}

// signature gives a signature that fails two more chances: a new document, and for
// did:plc the keys that were valid at the rev's time. T26, cryptography.
func signature(s *subject, err error) outcome {
	var rej *verify.Rejection
	if !errors.As(err, &rej) {
		return rejected(0, verify.Drop, "unverifiable", err)
	}
	out := outcome{rej: rej}
	switch {
	case !errors.Is(err, verify.ErrSignature):
	case !s.rekeyed:
		return out.unless(newKey)
	case !s.lookedBack && strings.HasPrefix(s.ev.DID, "did:plc:"):
		return out.unless(pastKeys)
	}
	return out
}

// append puts the event into the log and applies it to the account.
func (h *host) append(s *subject, held *accounts.Held, key []byte, v segmentlog.Verdict, repo accounts.Repo, status *accounts.Status) outcome {
	if s.idErr == nil && s.id.Host == h.addr.name {
		v |= segmentlog.Authority
	}
	if s.id.Stale {
		v |= segmentlog.StaleIdentity
	}
	if s.ev.Reencoded {
		v |= segmentlog.Reencoded
	}
	entry := segmentlog.Entry{
		DID:       s.ev.DID,
		Host:      h.addr.name,
		HostEpoch: s.win.epoch,
		HostSeq:   s.ev.Seq,
		HostFloor: s.win.floor(),
		Verdict:   v,
		Key:       key,
		Head:      s.ev.Head,
		Tail:      s.ev.Tail,
	}
	h.relay.numbered(&entry)
	at, ok := h.m.append(&entry)
	if !ok {
		return outcome{undecided: true}
	}
	c := accounts.Change{At: at, Host: entry.Host, Epoch: entry.HostEpoch, Seq: entry.HostSeq, Verdict: v, Repo: repo}
	if status != nil {
		c.SetStatus(*status)
	}
	if from := held.Account().Host; v.Has(segmentlog.Authority) && from != entry.Host {
		h.count(s, from)
	}
	held.Apply(&c)
	h.m.metrics.accepted[s.ev.Kind].Inc()
	h.ledger.Accepted(s.ev.Kind, v)
	return outcome{}
}

// append gives the entry its seq, and says whether it is in the log. Once it is not, nothing more is: an
// event that was left undecided must not be followed by a later one of its account.
func (m *Manager) append(e *segmentlog.Entry) (seq uint64, ok bool) {
	if m.appending.Err() != nil {
		return 0, false
	}
	seq, err := m.opts.Log.Append(m.appending, e)
	if err == nil {
		return seq, true
	}
	if m.appending.Err() == nil {
		m.fail(err)
	}
	return 0, false
}
