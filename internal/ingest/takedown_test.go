package ingest

import (
	"testing"

	"github.com/cistern-archive/cistern/internal/accounts"
	"github.com/cistern-archive/cistern/internal/frame"
	"github.com/cistern-archive/cistern/internal/netsim"
	"github.com/cistern-archive/cistern/segmentlog"
)

func TestWhatWeTookDownStaysDownWhateverItsHostSays(t *testing.T) {
	n := newNet(t, netsim.Options{Hosts: 1, Accounts: 2, Churn: -1})
	r := newRig(t, n.PLCURL(), &memLog{}, nil)
	h, a := n.Host(0), n.Host(0).Account(0)
	down := accounts.StatusOf(false, accounts.TakenDown)
	r.setLocal(a.DID, down)
	r.addHosts(n.HostURLs()...)
	if _, err := h.Post(a); err != nil {
		t.Fatal(err)
	}
	if err := h.Leave(a, "deactivated"); err != nil {
		t.Fatal(err)
	}
	if err := h.ComeBack(a); err != nil { // #account, #identity, #sync
		t.Fatal(err)
	}
	r.caughtUp(n)
	if got := r.rejections()["locally_inactive"]; got != 2 {
		t.Errorf("%d repo events dropped, want the commit and the #sync", got)
	}
	var rewritten int
	for _, rec := range r.log.all() {
		ev, err := frame.Parse(rec.Frame)
		if err != nil {
			t.Fatal(err)
		}
		if ev.Kind != frame.Account || rec.Verdict.Has(segmentlog.Local) {
			continue
		}
		rewritten++
		if ev.Active || ev.Status != accounts.TakenDown || !rec.Verdict.Has(segmentlog.Rewritten) {
			t.Errorf("#account serves active %v status %q with verdict %v", ev.Active, ev.Status, rec.Verdict)
		}
	}
	if rewritten != 2 {
		t.Errorf("%d #account events, want 2", rewritten)
	}
	if acct := r.account(a.DID); acct.Upstream.Inactive || acct.Effective() != down {
		t.Errorf("%+v", acct)
	}
	r.sameDerived()
}

func (r *rig) setLocal(did string, s accounts.Status) {
	r.t.Helper()
	if err := r.m.SetLocal(r.t.Context(), did, s); err != nil {
		r.t.Fatal(err)
	}
}

func TestATakedownThatIsLiftedLeavesWhatTheHostSaid(t *testing.T) {
	n := newNet(t, netsim.Options{Hosts: 1, Accounts: 2, Churn: -1})
	r := newRig(t, n.PLCURL(), &memLog{}, nil)
	h, a, b := n.Host(0), n.Host(0).Account(0), n.Host(0).Account(1)
	r.addHosts(n.HostURLs()...)
	down := accounts.StatusOf(false, accounts.TakenDown)
	r.setLocal(a.DID, down)
	r.setLocal(b.DID, down)
	r.setLocal(b.DID, down) // is so already
	if err := h.Leave(a, "deactivated"); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Post(b); err != nil {
		t.Fatal(err)
	}
	r.caughtUp(n)
	for _, did := range []string{a.DID, b.DID, b.DID} { // the second time it is so already
		if err := r.m.Lift(t.Context(), did, down); err != nil {
			t.Fatal(err)
		}
	}
	own := r.own()
	if len(own) != 4 || own[2].Active || own[2].Status != "deactivated" || !own[3].Active {
		t.Fatalf("%d events of our own, want two takedowns, one deactivated, one active", len(own))
	}
	if s := r.account(a.DID).Effective(); s != accounts.StatusOf(false, "deactivated") {
		t.Errorf("effective status %+v, want what the host said meanwhile", s)
	}
	if _, err := h.Post(b); err != nil {
		t.Fatal(err)
	}
	if err := h.ComeBack(a); err != nil {
		t.Fatal(err)
	}
	r.caughtUp(n)
	if got := r.rejections(); got["locally_inactive"] != 1 || len(got) != 1 {
		t.Errorf("rejections %v, want the one commit during the takedown", got)
	}
	r.sameDerived()
}
