package ingest

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/cistern-archive/cistern/index"
	"github.com/cistern-archive/cistern/internal/accounts"
	"github.com/cistern-archive/cistern/internal/derive"
	"github.com/cistern-archive/cistern/internal/frame"
	"github.com/cistern-archive/cistern/internal/identity"
	"github.com/cistern-archive/cistern/internal/netsim"
	"github.com/cistern-archive/cistern/segmentlog"
	"github.com/cistern-archive/cistern/segmentlog/dagcbor"
	"github.com/cistern-archive/cistern/testing/await"
)

func TestMain(m *testing.M) {
	// A library of the simulated network logs from a goroutine of its package's init.
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/ipfs/go-log/writer.(*MirrorWriter).logRoutine"))
}

// patience is how long a test waits for what must happen before it fails.
const patience = 30 * time.Second

// memLog is a log in memory.
type memLog struct {
	mu      sync.Mutex
	records []segmentlog.Record
	err     error         // returned by Append
	gate    chan struct{} // when not nil, Append waits for it to be closed
}

func (l *memLog) Append(ctx context.Context, e *segmentlog.Entry) (uint64, error) {
	l.mu.Lock()
	gate := l.gate
	l.mu.Unlock()
	if gate != nil {
		select {
		case <-gate:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return 0, l.err
	}
	seq := uint64(len(l.records) + 1)
	if e.Seq > 0 {
		if n := len(l.records); n > 0 && e.Seq <= l.records[n-1].Seq {
			return 0, segmentlog.ErrOutOfOrder
		}
		seq = e.Seq
	}
	f := append(dagcbor.AppendUint(bytes.Clone(e.Head), seq), e.Tail...)
	l.records = append(l.records, segmentlog.Record{
		Seq: seq, DID: []byte(e.DID), Host: []byte(e.Host), HostEpoch: e.HostEpoch, HostSeq: e.HostSeq,
		HostFloor: e.HostFloor, Verdict: e.Verdict, Key: bytes.Clone(e.Key), Frame: f,
	})
	return seq, nil
}

func (l *memLog) all() []segmentlog.Record {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.records[:len(l.records):len(l.records)]
}

// rig is a Manager with all it needs.
type rig struct {
	t        *testing.T
	log      *memLog
	reg      *prometheus.Registry
	accounts *accounts.Table
	resolver *identity.Resolver
	m        *Manager
	stopped  bool
}

// newRig makes a Manager that reads nothing yet. Its log may have records, which are
// restored first.
func newRig(t *testing.T, plcURL string, log *memLog, change func(*Options)) *rig {
	t.Helper()
	r := &rig{t: t, log: log, reg: prometheus.NewRegistry(), accounts: accounts.NewTable(accounts.Options{})}
	logger := slog.New(slog.DiscardHandler)
	if os.Getenv("INGEST_TEST_LOG") != "" {
		logger = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	var err error
	r.resolver, err = identity.New(identity.Options{PLCHosts: []string{plcURL}, Logger: logger, Timeout: 2 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	opts := Options{
		Log: log, Resolver: r.resolver, Accounts: r.accounts, Registerer: r.reg, Logger: logger,
		Dial:   DialOptions{BackoffBase: 5 * time.Millisecond, TrustedBackoffCap: 50 * time.Millisecond, PerSecond: 10_000},
		Bounds: Bounds{HoldRetry: 5 * time.Millisecond, HoldRetryCap: 20 * time.Millisecond},
	}
	if change != nil {
		change(&opts)
	}
	opts.Positions = r.restore()
	if r.m, err = New(opts); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.stop)
	return r
}

// restore applies the log to the accounts and returns where hosts are read on.
func (r *rig) restore() (positions []Position) {
	r.t.Helper()
	hosts := make(map[string]*index.Host)
	var ev frame.Event
	for _, rec := range r.log.all() {
		var c accounts.Change
		if err := derive.ChangeOf(&rec, &ev, &c); err != nil {
			r.t.Fatal(err)
		}
		r.apply(string(rec.DID), &c)
		if c.Host == "" {
			continue
		}
		if hosts[c.Host] == nil {
			hosts[c.Host] = new(index.Host)
		}
		hosts[c.Host].Raise(rec.HostEpoch, rec.HostFloor)
	}
	for name, h := range hosts {
		positions = append(positions, Position{Host: name, Epoch: h.Epoch, Floor: h.Cursor})
	}
	return positions
}

// apply changes an account as a record of the log would.
func (r *rig) apply(did string, c *accounts.Change) {
	r.t.Helper()
	held, err := r.accounts.Acquire(did)
	if err != nil {
		r.t.Fatal(err)
	}
	defer held.Release()
	held.Apply(c)
}

func (r *rig) stop() {
	if r.stopped {
		return
	}
	r.stopped = true
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := r.m.Stop(ctx); err != nil {
		r.t.Errorf("stop: %v", err)
	}
	r.resolver.Close()
}

func (r *rig) addHosts(urls ...string) {
	r.t.Helper()
	for _, u := range urls {
		if err := r.m.AddHost(u, true); err != nil {
			r.t.Fatal(err)
		}
	}
}

// addUntrusted reads a host of this machine as one that nobody vouches for; Dial must
// allow it.
func (r *rig) addUntrusted(url string) {
	r.t.Helper()
	addr, err := parseHost(url, true)
	if err != nil {
		r.t.Fatal(err)
	}
	addr.trusted = false
	r.m.mu.Lock()
	defer r.m.mu.Unlock()
	r.m.begin(newHost(r.m, addr, r.m.from[addr.name]), nil, 0)
}

// until waits for a condition.
func until(t *testing.T, what string, cond func() bool) {
	t.Helper()
	await.Until(t, patience, what, cond)
}

// caughtUp waits until every event of the network's hosts is decided.
func (r *rig) caughtUp(n *netsim.Network) {
	r.t.Helper()
	until(r.t, "every event to be decided", func() bool {
		floors := make(map[string]uint64)
		for _, h := range r.m.Hosts() {
			floors[h.Name] = h.Cursor
		}
		for _, h := range n.Hosts() {
			if floors[h.Name] < h.Seq() {
				return false
			}
		}
		return true
	})
	// The simulated hosts count a frame as sent after the write that we were faster than.
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for _, h := range n.Hosts() {
		if err := h.WaitSent(ctx); err != nil {
			r.t.Fatal(err)
		}
	}
}

// rejections sums cistern_ingest_rejected_total by reason.
func (r *rig) rejections() map[string]int {
	r.t.Helper()
	return r.counters("cistern_ingest_rejected_total", "reason")
}

func (r *rig) counters(name, label string) map[string]int {
	r.t.Helper()
	families, err := r.reg.Gather()
	if err != nil {
		r.t.Fatal(err)
	}
	sums := make(map[string]int)
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			key := ""
			for _, l := range m.GetLabel() {
				if l.GetName() == label {
					key = l.GetValue()
				}
			}
			sums[key] += int(m.GetCounter().GetValue() + m.GetGauge().GetValue())
		}
	}
	return sums
}

func newNet(t *testing.T, opts netsim.Options) *netsim.Network {
	t.Helper()
	if opts.Seed == 0 {
		opts.Seed = rand.Uint64()
	}
	if opts.Records == 0 {
		opts.Records = 30
	}
	t.Logf("netsim seed %d", opts.Seed)
	n, err := netsim.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Errorf("close netsim: %v", err)
		}
	})
	return n
}

func steps(t *testing.T, n *netsim.Network, count int) {
	t.Helper()
	for range count {
		if err := n.Step(); err != nil {
			t.Fatal(err)
		}
	}
}

// compare holds the log against the network's ledger.
func (r *rig) compare(n *netsim.Network) netsim.Report {
	r.t.Helper()
	c := netsim.NewComparison(n.Ledger())
	own := make(map[uint64]bool)
	for _, rec := range r.log.all() {
		if rec.Verdict.Has(segmentlog.Local) {
			own[rec.Seq] = true
		}
	}
	c.Own = func(_ []byte, p netsim.Peeked) bool { return own[p.Seq] }
	for _, rec := range r.log.all() {
		c.Add(rec.Frame)
	}
	return c.Report()
}

// sameTruth fails the test unless the log has exactly what it should.
func (r *rig) sameTruth(n *netsim.Network) {
	r.t.Helper()
	if err := r.compare(n).Err(); err != nil {
		r.t.Errorf("the log is not what the ledger says: %v\nrejections: %v", err, r.rejections())
	}
}

// sameDerived fails the test unless a table rebuilt from the log equals the live one.
func (r *rig) sameDerived() {
	r.t.Helper()
	rebuilt := newRig(r.t, "http://127.0.0.1:1", r.log, nil)
	if live, again := r.accounts.Stats().Accounts, rebuilt.accounts.Stats().Accounts; live != again {
		r.t.Errorf("%d accounts live, %d rebuilt from the log", live, again)
	}
	for _, rec := range r.log.all() {
		did := string(rec.DID)
		a, b := r.account(did), rebuilt.account(did)
		if a.Host != b.Host || a.Upstream != b.Upstream || a.Local != b.Local || a.Repo.Rev != b.Repo.Rev ||
			!bytes.Equal(a.Repo.Data, b.Repo.Data) || !bytes.Equal(a.Repo.Commit, b.Repo.Commit) {
			r.t.Errorf("%s differs:\nlive    %+v\nrebuilt %+v", did, a, b)
		}
	}
}

var errBroken = errors.New("the disk is on fire")
