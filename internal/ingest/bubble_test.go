package ingest

import (
	"context"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/cistern-archive/cistern/internal/accounts"
	"github.com/cistern-archive/cistern/internal/frame"
	"github.com/cistern-archive/cistern/internal/identity"
	"github.com/cistern-archive/cistern/internal/signing"
	"github.com/cistern-archive/cistern/segmentlog"
)

// homes is a Resolver that knows on which host an account lives.
type homes map[string]string

func (h homes) Cached(did string) (identity.Identity, bool, error) {
	id, err := h.Lookup(context.Background(), did)
	return id, true, err
}

func (h homes) Lookup(_ context.Context, did string) (identity.Identity, error) {
	if h[did] == "" {
		return identity.Identity{}, identity.ErrGone
	}
	return identity.Identity{DID: did, Host: h[did]}, nil
}

func (h homes) Refresh(ctx context.Context, did string) (identity.Identity, error) {
	return h.Lookup(ctx, did)
}

func (h homes) Announced(ctx context.Context, did string) (identity.Identity, bool, error) {
	id, err := h.Lookup(ctx, did)
	return id, false, err
}

func (homes) PastKeys(context.Context, string, time.Time) ([]*signing.Key, error) {
	return nil, identity.ErrUnusable
}

// timedLog is a log in memory that knows when it took each record.
type timedLog struct {
	memLog
	begin time.Time

	mu sync.Mutex
	at map[uint64]time.Duration // since begin, by seq
}

func (l *timedLog) Append(ctx context.Context, e *segmentlog.Entry) (uint64, error) {
	seq, err := l.memLog.Append(ctx, e)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.at[seq] = time.Since(l.begin)
	return seq, err
}

// from returns the records of a host, and when each came.
func (l *timedLog) from(host string) (records []segmentlog.Record, at []time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, rec := range l.all() {
		if string(rec.Host) == host {
			records, at = append(records, rec), append(at, l.at[rec.Seq])
		}
	}
	return records, at
}

// street is a Manager that reads hosts over pipes. It is made inside of a synctest
// bubble and must be stopped there.
type street struct {
	rig
	log *timedLog
}

// newStreet reads hosts that are played by functions of one end of each connection.
func newStreet(t *testing.T, r Resolver, hosts map[string]func(net.Conn), change func(*Options)) *street {
	t.Helper()
	s := &street{log: &timedLog{begin: time.Now(), at: make(map[uint64]time.Duration)}}
	s.rig = rig{t: t, reg: prometheus.NewRegistry(), accounts: accounts.NewTable(accounts.Options{})}
	opts := Options{
		Log: s.log, Resolver: r, Accounts: s.accounts, Registerer: s.reg,
		Dial: DialOptions{
			Jitter: func(d time.Duration) time.Duration { return d },
			DialTrusted: func(_ context.Context, _, addr string) (net.Conn, error) {
				name, _, err := net.SplitHostPort(addr)
				if err != nil {
					return nil, err
				}
				ours, theirs := net.Pipe()
				go hosts[name](theirs)
				return ours, nil
			},
		},
	}
	if change != nil {
		change(&opts)
	}
	var err error
	if s.m, err = New(opts); err != nil {
		t.Fatal(err)
	}
	for name := range hosts {
		if err := s.m.AddHost("http://"+name, true); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func (s *street) stop() {
	s.t.Helper()
	if err := s.m.Stop(s.t.Context()); err != nil {
		s.t.Error(err)
	}
}

// accountOf makes a message that an account of any host is active.
func accountOf(did string, seq uint64) []byte {
	return frame.NewAccount(did, time.Unix(1_700_000_000, 0), true, "").AppendFrame(nil, seq)
}

// eachSecond plays an honest host that sends an event of the account each second: the
// event of seq n in second n from now.
func eachSecond(did string) func(net.Conn) {
	begin := time.Now()
	return func(c net.Conn) {
		defer c.Close()
		ws, err := answerUpgrade(c)
		if err != nil {
			return
		}
		gone := make(chan struct{})
		go func() {
			defer close(gone)
			drain(ws)
		}()
		for seq := uint64(1); ; seq++ {
			select {
			case <-time.After(time.Until(begin.Add(time.Duration(seq) * time.Second))):
				send(ws, accountOf(did, seq))
			case <-gone:
				return
			}
		}
	}
}

// onTime fails the test unless every event of a host that eachSecond plays is in the
// log, at the instant at which it was sent.
func (s *street) onTime(host string, events int) {
	s.t.Helper()
	records, at := s.log.from(host)
	if len(records) != events {
		s.t.Errorf("%d events of %s in the log, want %d", len(records), host, events)
	}
	for i, rec := range records {
		want := time.Duration(i+1) * time.Second
		if rec.HostSeq != uint64(i+1) || at[i] != want {
			s.t.Fatalf("event %d of %s came as number %d after %v, want %v", rec.HostSeq, host, i+1, at[i], want)
		}
	}
}

// seqs are those of a host's events in the log, in its order.
func (s *street) seqs(host string) (seqs []uint64) {
	records, _ := s.log.from(host)
	for _, rec := range records {
		seqs = append(seqs, rec.HostSeq)
	}
	return seqs
}

// hasOnce fails the test unless the log has exactly the events 1 to n of a host, in order.
func (s *street) hasOnce(host string, n int) {
	s.t.Helper()
	var want []uint64
	got := s.seqs(host)
	for i := range n {
		want = append(want, uint64(i+1))
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		s.t.Errorf("events of %s in the log: %v, want %v", host, got, want)
	}
}

// eventsOf returns the messages of an account after a cursor, up to the last.
func eventsOf(did string, last uint64) func(uint64) [][]byte {
	return func(cursor uint64) (messages [][]byte) {
		for seq := cursor + 1; seq <= last; seq++ {
			messages = append(messages, accountOf(did, seq))
		}
		return messages
	}
}
