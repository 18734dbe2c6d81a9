package netsim

import (
	"fmt"
	"math/rand/v2"
	"slices"
)

// Lie is a way to break one rule that a relay checks, and only that one.
type Lie struct {
	Name    string
	Row     int // of docs/verification.md
	About   string
	Outcome Outcome // default Drop
	Closes  bool    // the relay closes the connection
	// Solo lies are not told at random: they are large, or make the relay read the
	// whole backlog again.
	Solo bool
	// Once lies are sent once only. Each either closes the connection, so that sending it
	// again at the same cursor would never end, or is one only after what went before.
	Once bool

	tell func(*liar) error
}

// Lies lists what Host.Lie knows.
func Lies() []Lie {
	var out []Lie
	for _, l := range lies {
		if l.Outcome == "" {
			l.Outcome = Drop
		}
		out = append(out, l)
	}
	return out
}

// Lie tells a lie about some active account of the host, and returns its entry.
func (h *Host) Lie(name string) (Entry, error) {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	for range h.accounts {
		if a := h.accounts[h.rng.IntN(len(h.accounts))]; a.status == "" {
			return h.lieAbout(a, name)
		}
	}
	return Entry{}, fmt.Errorf("host %s has no active account to lie about", h.Name)
}

// LieAbout tells a lie about an account of the host. Some lies need another one than
// that (an unknown DID, another host's account, an inactive one) and find it themselves.
func (h *Host) LieAbout(a *Account, name string) (Entry, error) {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	return h.lieAbout(a, name)
}

func (h *Host) lieAbout(a *Account, name string) (Entry, error) {
	if err := h.tell(a, name); err != nil {
		return Entry{}, err
	}
	return h.net.ledger[len(h.net.ledger)-1].export(), nil
}

func (h *Host) tell(a *Account, name string) error {
	i := slices.IndexFunc(lies, func(l Lie) bool { return l.Name == name })
	if i < 0 {
		return fmt.Errorf("no lie %q", name)
	}
	if err := a.ensureRepo(); err != nil {
		return err
	}
	if len(a.repo.paths) == 0 { // some lies are about a record that exists
		if _, err := h.commit(a, shape{}); err != nil {
			return err
		}
	}
	l := &liar{h: h, a: a, lie: &lies[i]}
	if err := l.lie.tell(l); err != nil {
		return fmt.Errorf("lie %s: %w", name, err)
	}
	return nil
}

// mixedLies are the names of those that are told at random.
var mixedLies = namesOf(lies, func(l Lie) (string, bool) { return l.Name, !l.Solo })

func randomLie(r *rand.Rand) string { return mixedLies[r.IntN(len(mixedLies))] }

// lies is the one table of what a host may lie about.
var lies = slices.Concat(envelopeLies, fieldLies, accountLies, carLies, commitLies, opLies, treeLies)

// liar tells one lie.
type liar struct {
	h   *Host
	a   *Account
	lie *Lie
}

// known makes sure that a relay has stored a state of the account: it emits an
// honest commit if there was none.
func (l *liar) known() error {
	if l.a.known {
		return nil
	}
	_, err := l.h.commit(l.a, shape{})
	return err
}

// draft drafts a commit on a copy of the account's tree: the account stays as it is.
func (l *liar) draft(ops ...op) (*draft, error) {
	at := l.h.net.clock.next()
	return l.a.draftOn(l.a.repo.fork(), shape{ops: ops, empty: ops == nil}, at)
}

// honest drafts a commit that creates one record, with nothing wrong in it.
func (l *liar) honest() (*draft, error) {
	return l.draft(l.a.create(collPost, l.h.net.clock.next()))
}

// tellDraft seals the draft and emits it. twin, when a test asks for it, is the draft
// before it was bent.
func (l *liar) tellDraft(d *draft, bend func(*draft)) error {
	if l.h.net.onTwin != nil {
		honest := *d
		sealed, err := honest.seal()
		if err != nil {
			return err
		}
		l.h.net.onTwin(l.lie.Name, sealed.msg)
	}
	bend(d)
	return l.sealDraft(d)
}

// sealDraft emits a draft that is a lie as it stands.
func (l *liar) sealDraft(d *draft) error {
	sealed, err := d.seal()
	if err != nil {
		return err
	}
	em := l.h.emissionOf(d, sealed.msg, l.h.net.clock.last, l.expect())
	em.once = l.lie.Once
	_, err = l.h.emit(em)
	return err
}

// tellMessage emits a message that is no draft.
func (l *liar) tellMessage(did, kind string, m *message) error {
	em := l.h.plain(did, kind, m, l.h.net.clock.last, l.expect())
	em.once, em.text = l.lie.Once, kind == "text"
	_, err := l.h.emit(em)
	return err
}

func (l *liar) expect() expectation {
	x := expectation{outcome: l.lie.Outcome, row: l.lie.Row, closes: l.lie.Closes, lie: l.lie.Name}
	if x.outcome == "" {
		x.outcome = Drop
	}
	return x
}

// bent tells an honest commit of one created record, bent in one place.
func bent(bend func(*draft)) func(*liar) error {
	return func(l *liar) error {
		d, err := l.honest()
		if err != nil {
			return err
		}
		return l.tellDraft(d, bend)
	}
}

// bentOps is bent for a commit with other operations.
func bentOps(ops func(*liar) []op, bend func(*draft)) func(*liar) error {
	return func(l *liar) error {
		d, err := l.draft(ops(l)...)
		if err != nil {
			return err
		}
		return l.tellDraft(d, bend)
	}
}

// withOps tells a commit whose operations are the lie.
func withOps(ops func(*liar) []op) func(*liar) error {
	return func(l *liar) error {
		d, err := l.draft(ops(l)...)
		if err != nil {
			return err
		}
		return l.sealDraft(d)
	}
}

// inMessage is bent in the envelope.
func inMessage(edit func(*message)) func(*liar) error {
	return bent(func(d *draft) { d.onMessage = edit })
}

// inBytes is bent in the bytes of the frame.
func inBytes(edit func([]byte) []byte) func(*liar) error {
	return inMessage(func(m *message) { m.edit = edit })
}
