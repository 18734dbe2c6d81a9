package netsim

import (
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/cistern-archive/cistern/segmentlog"
	"github.com/cistern-archive/cistern/segmentlog/dagcbor"
)

// Dialect is a way of writing events that differs from the reference PDS and is honest:
// a relay must accept it.
type Dialect struct {
	Name  string
	About string
	Flags segmentlog.Verdict // verdict bits that the event must get, among others
	// Solo dialects are not spoken at random: they change more than one event, or ask
	// more of the relay than to read.
	Solo bool

	speak func(h *Host, a *Account, x expectation) error
}

// Dialects lists what Host.Speak knows.
func Dialects() []Dialect { return slices.Clone(dialects) }

// Speak emits an event of the account in a dialect, and returns the newest entry.
func (h *Host) Speak(a *Account, dialect string) (Entry, error) {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	if err := h.speak(a, dialect); err != nil {
		return Entry{}, err
	}
	return h.net.ledger[len(h.net.ledger)-1].export(), nil
}

// SetDialects makes every later commit of Step on this host speak one of the
// dialects, at random; none is the reference PDS's way.
func (h *Host) SetDialects(names ...string) {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	h.dialects = slices.Clone(names)
}

func (h *Host) speak(a *Account, name string) error {
	i := slices.IndexFunc(dialects, func(d Dialect) bool { return d.Name == name })
	if i < 0 {
		return fmt.Errorf("no dialect %q", name)
	}
	d := &dialects[i]
	if err := a.ensureRepo(); err != nil {
		return err
	}
	if err := d.speak(h, a, expectation{flags: d.Flags, dialect: name}); err != nil {
		return fmt.Errorf("dialect %s: %w", name, err)
	}
	return nil
}

// mixedDialects are the names of those that are spoken at random.
var mixedDialects = namesOf(dialects, func(d Dialect) (string, bool) { return d.Name, !d.Solo })

func namesOf[T any](table []T, name func(T) (string, bool)) []string {
	var out []string
	for _, row := range table {
		if n, ok := name(row); ok {
			out = append(out, n)
		}
	}
	return out
}

func randomDialect(r *rand.Rand) string { return mixedDialects[r.IntN(len(mixedDialects))] }

// rewritten is a commit that is sent otherwise than it should be served.
func rewritten(wire func(*message)) func(*Host, *Account, expectation) error {
	return func(h *Host, a *Account, x expectation) error {
		_, err := h.commit(a, shape{wire: wire, expect: x})
		return err
	}
}

// drafted is a commit that is served as it is sent.
func drafted(edit func(*draft)) func(*Host, *Account, expectation) error {
	return func(h *Host, a *Account, x expectation) error {
		_, err := h.commit(a, shape{draft: edit, expect: x})
		return err
	}
}

// inCAR is a commit whose CAR file differs.
func inCAR(edit func(*carFile)) func(*Host, *Account, expectation) error {
	return drafted(func(d *draft) { d.onCAR = edit })
}

// absent leaves fields out that strict clients want.
func absent(keys ...string) func(*Host, *Account, expectation) error {
	return rewritten(func(m *message) {
		for _, k := range keys {
			m.remove(k)
		}
	})
}

// withoutSince is a commit whose since is null, written as null or left out.
func withoutSince(wire func(*message)) func(*Host, *Account, expectation) error {
	return func(h *Host, a *Account, x expectation) error {
		if a.known {
			x.flags |= segmentlog.SinceMismatch
		}
		_, err := h.commit(a, shape{draft: func(d *draft) { d.since = "" }, wire: wire, expect: x})
		return err
	}
}

// written is a commit that creates one record, its bytes edited before they get a CID.
func written(collection string, edit func([]byte) []byte) func(*Host, *Account, expectation) error {
	return func(h *Host, a *Account, x expectation) error {
		o := a.create(collection, h.net.clock.next())
		o.record = edit(o.record)
		o.cid = cidOf(o.record)
		_, err := h.commit(a, shape{ops: []op{o}, expect: x})
		return err
	}
}

// create drafts the creation of a record with a fresh key.
func (a *Account) create(collection string, at int64) op {
	return a.write("create", collection+"/"+tid(at, uint(a.rng.IntN(1024))), at)
}

// nullPrevs writes the absent prev of creates as null.
func nullPrevs(ops []op) []byte {
	out := dagcbor.AppendHead(nil, dagcbor.MajorArray, uint64(len(ops)))
	for i := range ops {
		out = append(out, ops[i].encode(true)...)
	}
	return out
}
