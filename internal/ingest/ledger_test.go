package ingest

import (
	"maps"
	"math/bits"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/cistern-archive/cistern/internal/ledger"
	"github.com/cistern-archive/cistern/internal/netsim"
	"github.com/cistern-archive/cistern/segmentlog"
)

// truth is what a network did, about a host.
type truth struct {
	kinds map[string]int
	flags map[segmentlog.Verdict]int
	// Dropped by row: told once is dropped once. What is sent again after a restart may
	// be dropped again or be known as a duplicate.
	told, sent map[int]int
}

func truths(n *netsim.Network) map[string]*truth {
	hosts := make(map[string]*truth)
	for _, h := range n.Hosts() {
		hosts[h.Name] = &truth{make(map[string]int), make(map[segmentlog.Verdict]int), make(map[int]int), make(map[int]int)}
	}
	for _, e := range n.Ledger() {
		w := hosts[e.Host]
		switch e.Outcome {
		case netsim.Accept:
			w.kinds[e.Kind]++
			for bit := range 32 {
				if f := segmentlog.Verdict(1 << bit); e.Flags.Has(f) {
					w.flags[f]++
				}
			}
		case netsim.Drop:
			w.told[e.Row]++
			w.sent[e.Row] += int(e.Sent)
		}
	}
	return hosts
}

// flagsOfNetwork are those that only a dialect or a lie brings about: the network
// knows of each event whether it must have them.
var flagsOfNetwork = []segmentlog.Verdict{
	segmentlog.Reencoded, segmentlog.RecordDefect, segmentlog.Repeat, segmentlog.Discontinuous, segmentlog.SinceMismatch,
	segmentlog.Unproven, segmentlog.PastKey, segmentlog.Lenient,
}

// sameCounts fails the test unless the ledger is what the network did and what the log
// has.
func (c *counted) sameCounts(n *netsim.Network) {
	c.t.Helper()
	sums := c.sums()
	logged := make(map[string]map[segmentlog.Verdict]int)
	for _, rec := range c.log.all() {
		host := string(rec.Host)
		if logged[host] == nil {
			logged[host] = make(map[segmentlog.Verdict]int)
		}
		for bit := range 32 {
			if f := segmentlog.Verdict(1 << bit); rec.Verdict.Has(f) && f.String() != "" {
				logged[host][f]++
			}
		}
	}
	for host, want := range truths(n) {
		got := sums[host]
		if !maps.Equal(got.kinds, want.kinds) {
			c.t.Errorf("%s: accepted %v, want %v", host, got.kinds, want.kinds)
		}
		if !maps.Equal(got.flags, logged[host]) {
			c.t.Errorf("%s: flags %v, and in the log %v", host, got.flags, logged[host])
		}
		for _, f := range flagsOfNetwork {
			if got.flags[f] != want.flags[f] {
				c.t.Errorf("%s: %d accepted with %v, want %d", host, got.flags[f], f, want.flags[f])
			}
		}
		rows := make(map[int]int)
		for reason, n := range got.reasons[ledger.Dropped] {
			rows[c.reject.row(reason)] += n
		}
		if n := got.reasons[ledger.Closed]["text_message"]; n > 0 { // such a message is not read
			rows[1] = n
		}
		for row := range 39 {
			if n := rows[row]; n < want.told[row] || n > want.sent[row] {
				c.t.Errorf("%s: T%d dropped %d, told %d times and sent %d times", host, row, n, want.told[row], want.sent[row])
			}
		}
	}
}

// live makes the network do a number of things, some of them lies, and ends with an
// honest event of each host: a host's cursor passes a frame without a number only then.
// Lies that close the connection are left out: what the host sent behind one may never
// have been read. So are those that are lies only after what went before.
func live(t *testing.T, n *netsim.Network, rng *rand.Rand, things int) {
	t.Helper()
	var open []string
	for _, l := range netsim.Lies() {
		if !l.Closes && !l.Solo && !l.Once {
			open = append(open, l.Name)
		}
	}
	for range things {
		if rng.IntN(6) > 0 {
			steps(t, n, 1)
		} else if _, err := n.Host(rng.IntN(len(n.Hosts()))).Lie(open[rng.IntN(len(open))]); err != nil {
			t.Fatal(err)
		}
	}
	for _, h := range n.Hosts() {
		if _, err := h.Post(h.Account(0)); err != nil {
			t.Fatal(err)
		}
	}
}

func seeded(t *testing.T) *rand.Rand {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

func TestTheLedgerIsWhatTheNetworkDid(t *testing.T) {
	rng := seeded(t)
	n := newNet(t, netsim.Options{Hosts: 3, Accounts: 6, Churn: 0.1, DialectRate: 0.4})
	c := newCounted(t, n, &memLog{}, ledger.Options{})
	c.addHosts(n.HostURLs()...)
	for range 4 {
		live(t, n, rng, 200)
		c.caughtUp(n)
	}
	c.sameTruth(n)
	c.balanced()
	c.sameCounts(n)
}

// A restart of the whole process in the middle of an hour: what was read is in the log,
// what was counted in the ledger's store, and both go on.
func TestTheLedgerGoesOnAfterARestart(t *testing.T) {
	rng := seeded(t)
	n := newNet(t, netsim.Options{Hosts: 2, Accounts: 6, Churn: 0.1, DialectRate: 0.3})
	log, fs := &memLog{}, vfs.NewMem()
	now := time.Now() // one hour, whatever the machine's clock does meanwhile
	o := ledger.Options{Dir: "ledger", FS: fs, Now: func() time.Time { return now }}
	rows := make(map[string]int)
	for i := range 3 {
		c := newCounted(t, n, log, o)
		maps.Copy(c.reject.rows, rows)
		c.addHosts(n.HostURLs()...)
		live(t, n, rng, 150)
		c.caughtUp(n)
		c.stop()
		c.balanced()
		c.sameCounts(n)
		rows = c.reject.rows
		for host, s := range c.sums() {
			if s.rows != 1 || s.connections <= i {
				t.Errorf("%s: %d rows with %d connections, want 1 with more than %d", host, s.rows, s.connections, i)
			}
		}
		if err := c.ledger.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAGapThatTheHostExplainsIsCountedAsOne(t *testing.T) {
	n := newNet(t, netsim.Options{Hosts: 1, Accounts: 3, Churn: -1})
	c := newCounted(t, n, &memLog{}, ledger.Options{})
	h := n.Host(0)
	post := func(times int) {
		t.Helper()
		for range times {
			if _, err := h.Post(h.Account(0)); err != nil {
				t.Fatal(err)
			}
		}
	}
	c.addHosts(n.HostURLs()...)
	post(5)
	c.caughtUp(n)
	cursor := h.Seq()
	if err := h.Stop(); err != nil {
		t.Fatal(err)
	}
	post(10)
	h.Trim(3)
	if err := h.Start(); err != nil {
		t.Fatal(err)
	}
	c.caughtUp(n)
	p, err := c.ledger.Query(t.Context(), ledger.Query{Limit: 10})
	if err != nil {
		t.Fatal(err)
	}
	got := p.Rows[len(p.Rows)-1]
	first := n.Ledger()[n.Len()-3].HostSeq
	if want := (ledger.Gap{Count: 1, Cursor: cursor, First: first}); got.Outdated != want || got.Resumed.Count != 0 {
		t.Errorf("outdated %+v, resumed %+v, want %+v", got.Outdated, got.Resumed, want)
	}
	// What is missing shows in the account's chain, too.
	if n := got.Flags[bits.TrailingZeros64(uint64(segmentlog.Discontinuous))]; n != 1 {
		t.Errorf("%d chain breaks are counted, want 1", n)
	}
}
