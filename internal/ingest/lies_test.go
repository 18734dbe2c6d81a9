package ingest

import (
	"testing"

	"github.com/cistern-archive/cistern/internal/netsim"
	"github.com/cistern-archive/cistern/segmentlog"
)

// noticed says whether something shows that a lie of the row was told. Text
// messages, error frames and #info are not events and show elsewhere.
func (r *rig) noticed(row int) bool {
	switch row {
	case 1:
		return r.counters("cistern_ingest_closed_total", "reason")["text_message"] == 1
	case 4:
		return r.counters("cistern_ingest_dials_total", "result")["ok"] > len(r.m.Hosts())
	case 5:
		return r.counters("cistern_ingest_upstream_gaps_total", "")[""] == 1
	}
	return len(r.rejections()) > 0
}

func TestEveryLieIsDroppedAndTheNextHonestEventPasses(t *testing.T) {
	for _, lie := range netsim.Lies() {
		t.Run(lie.Name, func(t *testing.T) {
			t.Parallel()
			n := newNet(t, netsim.Options{Hosts: 2, Accounts: 3, Churn: -1})
			r := newRig(t, n.PLCURL(), &memLog{}, nil)
			r.addHosts(n.HostURLs()...)
			until(t, "both connections", func() bool { return n.Host(0).Subscribers() == 1 && n.Host(1).Subscribers() == 1 })
			h := n.Host(0)
			a := h.Account(0)
			if _, err := h.Post(a); err != nil {
				t.Fatal(err)
			}
			r.caughtUp(n)
			told, err := h.LieAbout(a, lie.Name)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := h.Post(a); err != nil {
				t.Fatal(err)
			}
			r.caughtUp(n)
			rep := r.compare(n)
			if err := rep.Err(); err != nil {
				t.Errorf("%v\n%v\nrejections: %v", told, err, r.rejections())
			}
			if !r.noticed(lie.Row) {
				t.Errorf("T%d left no trace in the metrics: %v", lie.Row, r.rejections())
			}
			if got := n.Ledger()[told.Index].Sent; got == 0 {
				t.Error("the lie was never sent")
			}
		})
	}
}

func TestEveryDialectPassesWithItsFlag(t *testing.T) {
	for _, d := range netsim.Dialects() {
		t.Run(d.Name, func(t *testing.T) {
			t.Parallel()
			n := newNet(t, netsim.Options{Hosts: 1, Accounts: 3, Churn: -1})
			r := newRig(t, n.PLCURL(), &memLog{}, nil)
			r.addHosts(n.HostURLs()...)
			h := n.Host(0)
			a := h.Account(0)
			if _, err := h.Post(a); err != nil {
				t.Fatal(err)
			}
			for range 3 {
				if _, err := h.Speak(a, d.Name); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := h.Post(a); err != nil {
				t.Fatal(err)
			}
			r.caughtUp(n)
			r.sameTruth(n)
			want := make(map[uint64]segmentlog.Verdict)
			for _, e := range n.Ledger() {
				want[e.HostSeq] = e.Flags
			}
			for _, rec := range r.log.all() {
				if !rec.Verdict.Has(want[rec.HostSeq]) {
					t.Errorf("upstream seq %d has verdict %v, want %v in it", rec.HostSeq, rec.Verdict, want[rec.HostSeq])
				}
			}
		})
	}
}
