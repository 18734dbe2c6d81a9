package netsim

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	comatproto "github.com/bluesky-social/indigo/api/atproto"
)

// kindsOf lists what the ledger has of an account, as "host:kind".
func kindsOf(n *Network, did string) []string {
	var out []string
	for _, e := range n.Ledger() {
		if e.DID == did {
			i := slices.IndexFunc(n.hosts, func(h *Host) bool { return h.Name == e.Host })
			out = append(out, string(rune('a'+i))+e.Kind)
		}
	}
	return out
}

func wantKinds(t *testing.T, n *Network, a *Account, want string) {
	t.Helper()
	if got := strings.Join(kindsOf(n, a.DID), " "); got != want {
		t.Errorf("events %s, want %s", got, want)
	}
}

func TestNewAccountSpeaksLikeTheReferencePDS(t *testing.T) {
	n := offline(t, Options{Accounts: 1, Records: 20})
	a, err := n.CreateAccount(n.Host(0))
	if err != nil {
		t.Fatal(err)
	}
	wantKinds(t, n, a, "a#identity a#account a#commit a#sync")
	ledger := n.Ledger()
	if ledger[2].Rev != ledger[3].Rev {
		t.Error("the #sync is not at the rev of the #commit")
	}
	frame, err := n.Frame(2)
	if err != nil {
		t.Fatal(err)
	}
	msg := decodePayload[comatproto.SyncSubscribeRepos_Commit](t, frame)
	if msg.Since != nil || msg.PrevData != nil || len(msg.Ops) != 0 || verifyCommit(n, msg) != nil {
		t.Errorf("first commit %+v", msg)
	}
}

func TestMigrationTakesKeyAndDocumentAlong(t *testing.T) {
	n := online(t, Options{Hosts: 2, Accounts: 1, Records: 20})
	from, to := n.Host(0), n.Host(1)
	a := from.Account(0)
	if _, err := from.Post(a); err != nil {
		t.Fatal(err)
	}
	oldKey := a.key
	if err := n.Migrate(a, to); err != nil {
		t.Fatal(err)
	}
	if err := from.DeactivateOld(a); err != nil {
		t.Fatal(err)
	}
	if _, err := to.Post(a); err != nil {
		t.Fatal(err)
	}
	wantKinds(t, n, a, "a#commit b#identity b#account b#identity b#sync a#account b#commit")
	if e := n.Ledger()[5]; e.Outcome != Drop || e.Row != 13 {
		t.Errorf("the old host's #account: %v", e)
	}
	if a.key == oldKey || a.Host() != to {
		t.Error("the account kept its key or host")
	}
	if _, err := from.Post(a); err == nil {
		t.Error("the old host can still write")
	}
	var doc struct {
		Service []struct{ ServiceEndpoint string }
	}
	getJSON(t, n.PLCURL()+"/"+a.DID, &doc)
	if doc.Service[0].ServiceEndpoint != to.URL {
		t.Errorf("document names %s", doc.Service[0].ServiceEndpoint)
	}
	var log []struct{ CreatedAt string }
	if code := getJSON(t, n.PLCURL()+"/"+a.DID+"/log/audit", &log); code != http.StatusOK || len(log) != 2 || log[0].CreatedAt >= log[1].CreatedAt {
		t.Errorf("audit log %d %v", code, log)
	}
	for i, e := range n.Ledger() {
		frame, err := n.Frame(i)
		if err != nil {
			t.Fatal(err)
		}
		if e.Kind == "#sync" && verifySignature(n, a.DID, decodePayload[comatproto.SyncSubscribeRepos_Sync](t, frame).Blocks) != nil {
			t.Error("the #sync is not signed with the new key")
		}
	}
}

func TestAccountsLeaveAndComeBack(t *testing.T) {
	n := offline(t, Options{Accounts: 2, Records: 20})
	h, a := n.Host(0), n.Host(0).Account(0)
	if err := h.Leave(a, "deactivated"); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Post(a); err == nil || a.Status() != "deactivated" {
		t.Error("an inactive account writes")
	}
	if err := h.ComeBack(a); err != nil {
		t.Fatal(err)
	}
	if err := n.ChangeHandle(a); err != nil {
		t.Fatal(err)
	}
	if err := n.RotateKey(a); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Post(a); err != nil {
		t.Fatal(err)
	}
	wantKinds(t, n, a, "a#account a#account a#identity a#sync a#identity a#identity a#commit")
	frame, err := n.Frame(n.Len() - 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := verifyFrame(n, frame); err != nil {
		t.Errorf("the commit after the rotation: %v", err)
	}
	if a.Handle() != a.document.handle || !strings.HasPrefix(a.Handle(), "renamed") {
		t.Errorf("handle %q", a.Handle())
	}
}
