package ingest

import (
	"context"
	"log/slog"
	"sync"
	"testing"

	"github.com/cistern-archive/cistern/internal/ledger"
	"github.com/cistern-archive/cistern/internal/netsim"
	"github.com/cistern-archive/cistern/segmentlog"
)

// rejectionLog is a log handler that notes which row each reason is of.
type rejectionLog struct {
	slog.Handler
	mu   sync.Mutex
	rows map[string]int
}

func (l *rejectionLog) Enabled(context.Context, slog.Level) bool { return true }
func (l *rejectionLog) WithAttrs([]slog.Attr) slog.Handler       { return l }
func (l *rejectionLog) Handle(_ context.Context, r slog.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	row, reason := 0, ""
	r.Attrs(func(a slog.Attr) bool {
		switch a.Key {
		case "row":
			row = int(a.Value.Int64())
		case "reason":
			reason = a.Value.String()
		}
		return true
	})
	if reason != "" {
		l.rows[reason] = row
	}
	return nil
}

func (l *rejectionLog) row(reason string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.rows[reason]
}

// counted is a rig with a ledger.
type counted struct {
	*rig
	ledger *ledger.Ledger
	reject rejectionLog
}

func newCounted(t *testing.T, n *netsim.Network, log *memLog, o ledger.Options) *counted {
	t.Helper()
	c := &counted{ledger: ledger.Open(o), reject: rejectionLog{rows: make(map[string]int)}}
	t.Cleanup(func() {
		if err := c.ledger.Close(); err != nil {
			t.Error(err)
		}
	})
	c.rig = newRig(t, n.PLCURL(), log, func(o *Options) {
		o.Ledger, o.Logger = c.ledger, slog.New(&c.reject)
	})
	return c
}

// sums adds the rows of each host.
func (c *counted) sums() map[string]*sum {
	c.t.Helper()
	hosts := make(map[string]*sum)
	q := ledger.Query{Limit: ledger.MaxLimit}
	for {
		p, err := c.ledger.Query(c.t.Context(), q)
		if err != nil {
			c.t.Fatal(err)
		}
		for _, r := range p.Rows {
			s := hosts[r.Host]
			if s == nil {
				s = &sum{reasons: make(map[ledger.Outcome]map[string]int)}
				hosts[r.Host] = s
			}
			s.add(r)
		}
		if q.Cursor = p.Cursor; q.Cursor == "" {
			return hosts
		}
	}
}

type sum struct {
	received, accepted, infos, errors int
	kinds                             map[string]int
	flags                             map[segmentlog.Verdict]int
	reasons                           map[ledger.Outcome]map[string]int
	rows, connections, outdated       int
}

func (s *sum) add(r *ledger.Row) {
	s.received += int(r.Received)
	s.accepted += int(r.Accepted())
	s.infos += int(r.Infos)
	s.errors += int(r.Errors)
	s.rows++
	s.connections += int(r.Connections)
	s.outdated += int(r.Outdated.Count)
	if s.flags == nil {
		s.flags, s.kinds = make(map[segmentlog.Verdict]int), make(map[string]int)
	}
	for i, name := range ledger.KindNames() {
		if r.Kinds[i] > 0 {
			s.kinds["#"+name] += int(r.Kinds[i])
		}
	}
	for bit, n := range r.Flags {
		if n > 0 {
			s.flags[1<<bit] += int(n)
		}
	}
	for _, o := range r.Outcomes {
		if s.reasons[o.Outcome] == nil {
			s.reasons[o.Outcome] = make(map[string]int)
		}
		s.reasons[o.Outcome][o.Reason] += int(o.Count)
	}
}

func (s *sum) of(o ledger.Outcome) (n int) {
	for _, c := range s.reasons[o] {
		n += c
	}
	return n
}

// balanced fails the test unless everything that a host sent was decided, once.
func (c *counted) balanced() {
	c.t.Helper()
	for host, s := range c.sums() {
		if decided := s.accepted + s.of(ledger.Dropped) + s.of(ledger.Ignored) + s.infos + s.errors; decided != s.received {
			c.t.Errorf("%s: %d received and %d decided: %+v", host, s.received, decided, *s)
		}
	}
}
