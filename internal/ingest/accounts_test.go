package ingest

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/gorilla/websocket"

	"github.com/cistern-archive/cistern/internal/accounts"
	"github.com/cistern-archive/cistern/internal/frame"
	"github.com/cistern-archive/cistern/internal/netsim"
	"github.com/cistern-archive/cistern/segmentlog"
)

func (r *rig) account(did string) accounts.Account {
	r.t.Helper()
	a, ok, err := r.accounts.Get(did)
	if !ok || err != nil {
		r.t.Fatalf("nothing is known of %s: %v", did, err)
	}
	return a
}

// own lists the #account events of our own in the log.
func (r *rig) own() (events []*frame.Event) {
	r.t.Helper()
	for _, rec := range r.log.all() {
		if !rec.Verdict.Has(segmentlog.Local) {
			continue
		}
		ev, err := frame.Parse(rec.Frame)
		if err != nil {
			r.t.Fatalf("our own event cannot be read: %v", err)
		}
		if len(rec.Host) > 0 || rec.HostSeq != 0 || ev.Kind != frame.Account {
			r.t.Errorf("our own event names a host or is no #account: %+v", rec)
		}
		events = append(events, ev)
	}
	return events
}

func TestAnAccountThatMovesIsFollowedAndTheOldHostHasNoSay(t *testing.T) {
	n := newNet(t, netsim.Options{Hosts: 2, Accounts: 3, Churn: -1})
	r := newRig(t, n.PLCURL(), &memLog{}, nil)
	r.addHosts(n.HostURLs()...)
	a := n.Host(0).Account(0)
	if _, err := n.Host(0).Post(a); err != nil {
		t.Fatal(err)
	}
	r.caughtUp(n)
	if err := n.Migrate(a, n.Host(1)); err != nil {
		t.Fatal(err)
	}
	if _, err := n.Host(1).Post(a); err != nil {
		t.Fatal(err)
	}
	r.caughtUp(n)
	if err := n.Host(0).DeactivateOld(a); err != nil {
		t.Fatal(err)
	}
	if _, err := n.Host(1).Post(a); err != nil {
		t.Fatal(err)
	}
	r.caughtUp(n)
	r.sameTruth(n)
	r.sameDerived()
	if acct := r.account(a.DID); acct.Host != n.Host(1).Name || acct.Effective().Inactive {
		t.Errorf("after the move: %+v", acct)
	}
	if got := r.rejections()["wrong_host"]; got != 1 {
		t.Errorf("%d events of the wrong host, want 1", got)
	}

	r.stop()
	again := newRig(t, n.PLCURL(), r.log, nil)
	again.addHosts(n.HostURLs()...)
	if _, err := n.Host(1).Post(a); err != nil {
		t.Fatal(err)
	}
	again.caughtUp(n)
	again.sameTruth(n)
}

func TestAnAccountThatLeavesIsSilentUntilItComesBack(t *testing.T) {
	n := newNet(t, netsim.Options{Hosts: 1, Accounts: 2, Churn: -1})
	r := newRig(t, n.PLCURL(), &memLog{}, nil)
	r.addHosts(n.HostURLs()...)
	h, a := n.Host(0), n.Host(0).Account(0)
	for _, status := range []string{"deactivated", "takendown", "suspended", "deleted"} {
		if _, err := h.Post(a); err != nil {
			t.Fatal(err)
		}
		if err := h.Leave(a, status); err != nil {
			t.Fatal(err)
		}
		r.caughtUp(n)
		if s := r.account(a.DID).Effective(); s != (accounts.Status{Inactive: true, Reason: status}) {
			t.Errorf("status %+v, want %s", s, status)
		}
		if err := h.ComeBack(a); err != nil {
			t.Fatal(err)
		}
	}
	r.caughtUp(n)
	r.sameTruth(n)
	r.sameDerived()
	if len(r.own()) != 0 {
		t.Errorf("%d events of our own, want none", len(r.own()))
	}
}

func TestAStatusThatWasMissedIsAskedForOnceAndCorrected(t *testing.T) {
	n := newNet(t, netsim.Options{Hosts: 1, Accounts: 2, Churn: -1})
	r := newRig(t, n.PLCURL(), &memLog{}, nil)
	r.addHosts(n.HostURLs()...)
	h, a := n.Host(0), n.Host(0).Account(0)
	if err := h.Leave(a, "deactivated"); err != nil {
		t.Fatal(err)
	}
	r.caughtUp(n)
	h.ComeBackSilently(a)
	for range 3 {
		if _, err := h.Post(a); err != nil {
			t.Fatal(err)
		}
	}
	r.caughtUp(n)
	r.sameTruth(n)
	r.sameDerived()
	own := r.own()
	if len(own) != 1 || own[0].DID != a.DID || !own[0].Active {
		t.Errorf("%d events of our own, want one that says active", len(own))
	}
	if r.account(a.DID).Effective().Inactive {
		t.Error("the account is still inactive")
	}
}

// A host that cannot be asked makes its account wait, and one that says no is believed
// for a while.
func TestTheHostIsAskedForAStatusSeldom(t *testing.T) {
	n := newNet(t, netsim.Options{Hosts: 1, Accounts: 2, Churn: -1})
	h, a := n.Host(0), n.Host(0).Account(0)
	if err := h.Leave(a, "deactivated"); err != nil {
		t.Fatal(err)
	}
	h.ComeBackSilently(a)
	for range 5 {
		if _, err := h.Post(a); err != nil {
			t.Fatal(err)
		}
	}
	var asked, broken atomic.Int32
	broken.Store(3)
	s := serveLedger(t, n, func(w http.ResponseWriter, req *http.Request) {
		if asked.Add(1) <= broken.Load() {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		fmt.Fprintf(w, `{"did":%q,"active":false,"status":"deactivated"}`, req.URL.Query().Get("did"))
	})
	r := newRig(t, n.PLCURL(), &memLog{}, func(o *Options) {
		o.Resolver = believer{s.name()}
	})
	r.addHosts(s.URL)
	until(t, "five drops", func() bool { return r.rejections()["account_inactive"] == 5 })
	if got := asked.Load(); got != 4 {
		t.Errorf("asked %d times, want 3 that failed and one", got)
	}
}

// serveLedger serves what host 0 has sent from a stage of one's own.
func serveLedger(t *testing.T, n *netsim.Network, status http.HandlerFunc) *stage {
	s := newStage(t, func(i int, c *websocket.Conn) {
		for j := range n.Len() {
			f, err := n.Frame(j)
			if err != nil {
				t.Error(err)
				return
			}
			send(c, f)
		}
		drain(c)
	})
	play := s.Config.Handler
	s.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/xrpc/com.atproto.sync.getRepoStatus" {
			status(w, r)
			return
		}
		play.ServeHTTP(w, r)
	})
	return s
}

func TestATombstonedAccountIsDeletedInTheLogOnce(t *testing.T) {
	n := newNet(t, netsim.Options{Hosts: 1, Accounts: 2, Churn: -1})
	r := newRig(t, n.PLCURL(), &memLog{}, nil)
	r.addHosts(n.HostURLs()...)
	h, a := n.Host(0), n.Host(0).Account(0)
	if _, err := h.Post(a); err != nil {
		t.Fatal(err)
	}
	r.caughtUp(n)
	n.Tombstone(a)
	if err := h.Leave(a, "deleted"); err != nil { // the cached document still lets it pass
		t.Fatal(err)
	}
	h.ComeBackSilently(a)
	r.caughtUp(n)
	before := len(r.log.all())
	r.stop()

	// A relay that starts later has only the log and a directory that says 410.
	r = newRig(t, n.PLCURL(), &memLog{records: r.log.all()[:before-1]}, nil)
	r.addHosts(n.HostURLs()...)
	for range 3 {
		if _, err := h.Post(a); err != nil {
			t.Fatal(err)
		}
	}
	r.caughtUp(n)
	own := r.own()
	if len(own) != 1 || own[0].Active || own[0].Status != accounts.Deleted {
		t.Fatalf("%d events of our own, want one that says deleted", len(own))
	}
	if s := r.account(a.DID).Effective(); s.Reason != accounts.Deleted {
		t.Errorf("effective status %+v", s)
	}
	if got := r.rejections()["did_gone"]; got != 3 {
		t.Errorf("%d commits dropped for a DID that is gone, want 3", got)
	}
	r.sameDerived()
}

func TestAHostMayHaveSoManyAccountsAndNoMore(t *testing.T) {
	n := newNet(t, netsim.Options{Hosts: 2, Accounts: 4, Churn: -1})
	log := &memLog{}
	limit := int64(3)
	limited := func(o *Options) {
		o.Dial.DialPublic = new(net.Dialer).DialContext
		o.AccountLimit = func(host string) int64 {
			if host == n.Host(1).Name {
				return 0
			}
			return atomic.LoadInt64(&limit)
		}
	}
	r := newRig(t, n.PLCURL(), log, limited)
	for _, u := range n.HostURLs() {
		r.addUntrusted(u)
	}
	post := func(r *rig, throttled int) {
		t.Helper()
		before := r.rejections()["locally_inactive"]
		for _, h := range n.Hosts() {
			for i := range 4 {
				if _, err := h.Post(h.Account(i)); err != nil {
					t.Fatal(err)
				}
			}
			r.caughtUp(n)
		}
		if got := r.rejections()["locally_inactive"] - before; got != throttled {
			t.Fatalf("%d events of throttled accounts, want %d; our own: %d", got, throttled, len(r.own()))
		}
	}
	post(r, 1)
	post(r, 1)
	if own := r.own(); len(own) != 1 || own[0].Active || own[0].Status != accounts.Throttled {
		t.Fatalf("%d events of our own, want one that says throttled", len(own))
	}
	atomic.StoreInt64(&limit, 4)
	post(r, 0)
	if own := r.own(); len(own) != 2 || !own[1].Active || own[1].DID != own[0].DID {
		t.Fatalf("%d events of our own, want the account to be let go", len(own))
	}
	atomic.StoreInt64(&limit, 1) // those that are there stay
	post(r, 0)
	r.sameDerived()
	r.stop()

	again := newRig(t, n.PLCURL(), log, func(o *Options) {
		limited(o)
		o.AccountCounts = map[string]int64{n.Host(0).Name: 4}
	})
	for _, u := range n.HostURLs() {
		again.addUntrusted(u)
	}
	if _, err := n.CreateAccount(n.Host(0)); err != nil {
		t.Fatal(err)
	}
	again.caughtUp(n)
	if own := again.own(); len(own) != 3 || own[2].Status != accounts.Throttled {
		t.Errorf("%d events of our own, want the new account to be throttled after a restart too", len(own))
	}
	again.sameDerived()
}

func TestAKeyThatWasRotatedSilentlyIsFoundAndForgeriesAskSeldom(t *testing.T) {
	n := newNet(t, netsim.Options{Hosts: 1, Accounts: 2, Churn: -1})
	r := newRig(t, n.PLCURL(), &memLog{}, nil)
	r.addHosts(n.HostURLs()...)
	h, a := n.Host(0), n.Host(0).Account(0)
	if _, err := h.Post(a); err != nil {
		t.Fatal(err)
	}
	r.caughtUp(n)
	before := n.PLC().Requests(a.DID)
	for range 20 {
		if _, err := h.LieAbout(a, "signature-wrong-key"); err != nil {
			t.Fatal(err)
		}
	}
	r.caughtUp(n)
	// One for the document and one for the audit log.
	if got := n.PLC().Requests(a.DID) - before; got != 2 {
		t.Errorf("%d requests for 20 forgeries, want 2", got)
	}
	r.sameTruth(n)
}

func TestAStrangersEventsForceOneRefreshAMinute(t *testing.T) {
	n := newNet(t, netsim.Options{Hosts: 2, Accounts: 1, Churn: -1})
	r := newRig(t, n.PLCURL(), &memLog{}, nil)
	r.addHosts(n.HostURLs()...)
	a := n.Host(1).Account(0)
	if _, err := n.Host(1).Post(a); err != nil {
		t.Fatal(err)
	}
	r.caughtUp(n)
	before := n.PLC().Requests(a.DID)
	for range 30 {
		for _, lie := range []string{"other-host-commit", "other-host-account", "other-host-identity"} {
			if _, err := n.Host(0).Lie(lie); err != nil {
				t.Fatal(err)
			}
		}
	}
	r.caughtUp(n)
	if got := n.PLC().Requests(a.DID) - before; got > 1+identityBurst {
		t.Errorf("%d requests, want at most %d", got, 1+identityBurst)
	}
	r.sameTruth(n)
}

func TestEverythingAtOnce(t *testing.T) {
	n := newNet(t, netsim.Options{Hosts: 4, Accounts: 10, Churn: 0.1, LieRate: 0.2, DialectRate: 0.3})
	srv := httptest.NewServer(nil) // keeps a port that nobody serves the XRPC on
	defer srv.Close()
	log := &memLog{}
	for range 4 {
		r := newRig(t, n.PLCURL(), log, nil)
		r.addHosts(append(n.HostURLs(), srv.URL)...)
		steps(t, n, 200)
		until(t, "progress", func() bool { return len(log.all()) > 0 })
		n.Host(1).Disconnect()
		r.stop()
	}
	r := newRig(t, n.PLCURL(), log, nil)
	r.addHosts(n.HostURLs()...)
	steps(t, n, 200)
	for _, h := range n.Hosts() { // the last event of each must be one whose number can be read
		if _, err := n.CreateAccount(h); err != nil {
			t.Fatal(err)
		}
	}
	r.caughtUp(n)
	rep := r.compare(n)
	rep.Altered = slices.DeleteFunc(rep.Altered, afterAnUnreadableNumber(n))
	if err := rep.Err(); err != nil {
		t.Errorf("the log is not what the ledger says: %v\nrejections: %v", err, r.rejections())
	}
	r.sameDerived()
}

// afterAnUnreadableNumber finds those that repeat the number of the frame before them
// when that was one whose number nobody could read: then it is new to us, and the
// event is an honest one. The ledger has them as altered because the number differs.
func afterAnUnreadableNumber(n *netsim.Network) func(string) bool {
	ledger := n.Ledger()
	return func(altered string) bool {
		_, index, _ := strings.Cut(altered, "not the bytes of entry ")
		i, err := strconv.Atoi(index)
		return err == nil && ledger[i].Lie == "seq-repeated"
	}
}
