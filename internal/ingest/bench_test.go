package ingest

import (
	"context"
	"testing"

	"github.com/cistern-archive/cistern/internal/accounts"
	"github.com/cistern-archive/cistern/internal/identity"
	"github.com/cistern-archive/cistern/internal/netsim"
	"github.com/cistern-archive/cistern/segmentlog"
)

// countingLog takes everything and keeps nothing.
type countingLog struct{ n uint64 }

func (l *countingLog) Append(context.Context, *segmentlog.Entry) (uint64, error) {
	l.n++
	return l.n, nil
}

// BenchmarkAdmit is the way of a frame from its bytes to the log with a known
// identity: parsing, all rules, the signature, the account. No socket, no disk.
func BenchmarkAdmit(b *testing.B) {
	n, err := netsim.New(netsim.Options{Seed: 7, Accounts: 50, Churn: -1})
	if err != nil {
		b.Fatal(err)
	}
	defer n.Close()
	const events = 4000
	frames := make([][]byte, events)
	for i := range frames {
		if err := n.Step(); err != nil {
			b.Fatal(err)
		}
		if frames[i], err = n.Frame(i); err != nil {
			b.Fatal(err)
		}
	}
	resolver, err := identity.New(identity.Options{PLCHosts: []string{n.PLCURL()}})
	if err != nil {
		b.Fatal(err)
	}
	defer resolver.Close()
	for _, a := range n.Host(0).Accounts() {
		if _, err := resolver.Lookup(b.Context(), a.DID); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	var r *reader
	log := new(countingLog)
	bytes := 0
	for i := 0; b.Loop(); i++ {
		if i%events == 0 { // a relay that knows nothing yet
			b.StopTimer()
			m, err := New(Options{Log: log, Resolver: resolver, Accounts: accounts.NewTable(accounts.Options{})})
			if err != nil {
				b.Fatal(err)
			}
			h := newHost(m, address{name: n.Host(0).Name, trusted: true}, Position{})
			r = &reader{h: h, win: h.window()}
			b.StartTimer()
		}
		m := getMessage()
		m.buf = append(m.buf[:0], frames[i%events]...)
		bytes += len(m.buf)
		if _, err := r.take(b.Context(), m); err != nil {
			b.Fatal(err)
		}
		m.release()
	}
	b.SetBytes(int64(bytes / b.N))
	if log.n != uint64(b.N) {
		b.Fatalf("%d of %d events accepted", log.n, b.N)
	}
}
