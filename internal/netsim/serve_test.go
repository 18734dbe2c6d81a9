package netsim

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/identity"
	"github.com/gorilla/websocket"

	"github.com/cistern-archive/cistern/testing/await"
)

// online makes a network with listeners that the test closes.
func online(t testing.TB, o Options) *Network {
	t.Helper()
	n, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return n
}

// dial subscribes to a host; query is "" or "?cursor=…".
func dial(t testing.TB, h *Host, query string) *websocket.Conn {
	t.Helper()
	url := "ws" + strings.TrimPrefix(h.URL, "http") + "/xrpc/com.atproto.sync.subscribeRepos" + query
	c, resp, err := websocket.DefaultDialer.Dial(url, nil)
	if err != nil {
		t.Fatalf("dial %s: %v", url, err)
	}
	if err := resp.Body.Close(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return c
}

// read reads the next binary message.
func read(t testing.TB, c *websocket.Conn) []byte {
	t.Helper()
	kind, b, err := c.ReadMessage()
	if err != nil {
		t.Fatal(err)
	}
	if kind != websocket.BinaryMessage {
		t.Fatalf("message of kind %d", kind)
	}
	return b
}

// getJSON fetches a document and returns the status.
func getJSON(t testing.TB, url string, v any) int {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	http.DefaultClient.CloseIdleConnections()
	if v != nil {
		if err := json.Unmarshal(body, v); err != nil {
			t.Fatalf("%s: %v in %q", url, err, body)
		}
	}
	return resp.StatusCode
}

func TestEveryCursorYieldsTheRestAndThenLive(t *testing.T) {
	n := online(t, Options{Seed: 3, Accounts: 5, Records: 30})
	step(t, n, 200)
	ledger := n.Ledger()
	for _, from := range []int{0, 1, 77, 150, len(ledger)} {
		cursor := uint64(0)
		if from > 0 {
			cursor = ledger[from-1].HostSeq
		}
		c := dial(t, n.Host(0), fmt.Sprintf("?cursor=%d", cursor))
		for i := from; i < len(ledger); i++ {
			want, err := n.Frame(i)
			if err != nil {
				t.Fatal(err)
			}
			if got := read(t, c); !bytes.Equal(got, want) {
				t.Fatalf("cursor %d: frame %d differs", cursor, i)
			}
		}
		step(t, n, 3) // live
		ledger = n.Ledger()
		for i := len(ledger) - 3; i < len(ledger); i++ {
			if p, err := Peek(read(t, c)); err != nil || p.Digest != ledger[i].Want {
				t.Fatalf("cursor %d: live frame %d is %+v, %v", cursor, i, p, err)
			}
		}
		_ = c.Close()
	}
	waitSent(t, n.Host(0))
}

func TestFramesOfOnesOwnAreServedAsTheyAre(t *testing.T) {
	n := online(t, Options{Accounts: 1, Records: 10})
	own := accountMessage("did:plc:aaaaaaaaaaaaaaaaaaaaaaaa", "", "2026-01-02T00:00:00Z", true).encode(500)
	for i, c := range []struct {
		frame []byte
		seq   uint64
	}{{own, 500}, {[]byte("?"), 501}, {own, 502}} {
		e, err := n.Host(0).EmitFrame(c.frame, Accept, 0)
		if err != nil || e.HostSeq != c.seq {
			t.Errorf("frame %d: %v, %v", i, e, err)
		}
	}
	n.SetDocument("did:plc:aaaaaaaaaaaaaaaaaaaaaaaa", []byte(`{"id":"x"}`))
	if code := getJSON(t, n.PLCURL()+"/did:plc:aaaaaaaaaaaaaaaaaaaaaaaa", nil); code != http.StatusOK {
		t.Errorf("document %d", code)
	}
	c := dial(t, n.Host(0), "?cursor=0")
	for _, want := range [][]byte{own, []byte("?"), own} {
		if got := read(t, c); !bytes.Equal(got, want) {
			t.Errorf("got %q", got)
		}
	}
}

func TestCursorInTheFutureIsAnError(t *testing.T) {
	n := online(t, Options{Accounts: 2, Records: 10})
	step(t, n, 3)
	c := dial(t, n.Host(0), fmt.Sprintf("?cursor=%d", n.Host(0).Seq()+1))
	if p, err := Peek(read(t, c)); err != nil || p.Kind != "error" {
		t.Fatalf("got %+v, %v", p, err)
	}
	if _, _, err := c.ReadMessage(); !websocket.IsCloseError(err, websocket.ClosePolicyViolation) {
		t.Errorf("closed with %v", err)
	}
}

func TestNoCursorIsLive(t *testing.T) {
	n := online(t, Options{Accounts: 2, Records: 10})
	step(t, n, 3)
	c := dial(t, n.Host(0), "")
	waitFor(t, func() bool { return n.Host(0).Subscribers() == 1 })
	step(t, n, 1)
	ledger := n.Ledger()
	if p, err := Peek(read(t, c)); err != nil || p.Digest != ledger[3].Want {
		t.Fatalf("got %+v, %v", p, err)
	}
	if ledger[0].Sent != 0 {
		t.Error("an old event counts as sent")
	}
}

// waitSent waits until the whole backlog counts as written to a socket.
func waitSent(t testing.TB, h *Host) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := h.WaitSent(ctx); err != nil {
		t.Error(err)
	}
}

// waitFor polls a condition of another goroutine, for at most ten seconds.
func waitFor(t testing.TB, ok func() bool) {
	t.Helper()
	await.Until(t, 10*time.Second, "a condition", ok)
}

func TestHostKeepsItsBacklogOverARestart(t *testing.T) {
	n := online(t, Options{Accounts: 2, Records: 10})
	h := n.Host(0)
	step(t, n, 5)
	c := dial(t, h, "?cursor=0")
	read(t, c)
	if err := h.Stop(); err != nil {
		t.Fatal(err)
	}
	for {
		if _, _, err := c.ReadMessage(); err != nil {
			break
		}
	}
	step(t, n, 2)
	if err := h.Start(); err != nil {
		t.Fatal(err)
	}
	c = dial(t, h, "?cursor=0")
	for i := range n.Len() {
		if p, err := Peek(read(t, c)); err != nil || p.Digest != n.Ledger()[i].Want {
			t.Fatalf("frame %d: %+v, %v", i, p, err)
		}
	}
	waitSent(t, h)
}

func TestResetHostRefusesTheOldCursor(t *testing.T) {
	n := online(t, Options{Accounts: 2, Records: 10})
	h := n.Host(0)
	step(t, n, 5)
	cursor := h.Seq()
	h.Reset()
	c := dial(t, h, fmt.Sprintf("?cursor=%d", cursor))
	if p, err := Peek(read(t, c)); err != nil || p.Kind != "error" {
		t.Fatalf("got %+v, %v", p, err)
	}
	step(t, n, 1)
	c = dial(t, h, "?cursor=0")
	if p, err := Peek(read(t, c)); err != nil || p.Seq > 4 || p.Digest != n.Ledger()[5].Want {
		t.Fatalf("after the reset: %+v, %v", p, err)
	}
	if e := n.Ledger()[5]; e.Epoch != 1 {
		t.Errorf("epoch is %d", e.Epoch)
	}
}

func TestTrimmedHostSaysSo(t *testing.T) {
	n := online(t, Options{Accounts: 2, Records: 10})
	step(t, n, 10)
	n.Host(0).Trim(4)
	c := dial(t, n.Host(0), "?cursor=0")
	if p, err := Peek(read(t, c)); err != nil || p.Kind != "#info" {
		t.Fatalf("got %+v, %v", p, err)
	}
	if p, err := Peek(read(t, c)); err != nil || p.Digest != n.Ledger()[n.Len()-4].Want {
		t.Fatalf("got %+v, %v", p, err)
	}
}

func TestDocumentsOfBothFormsParse(t *testing.T) {
	n := online(t, Options{Seed: 2, Accounts: 40, Records: 10, LegacyDocs: 0.5})
	forms := map[string]int{}
	for _, a := range n.Host(0).Accounts() {
		var doc identity.DIDDocument
		if code := getJSON(t, n.PLCURL()+"/"+a.DID, &doc); code != http.StatusOK {
			t.Fatalf("status %d", code)
		}
		ident := identity.ParseIdentity(&doc)
		key, err := ident.PublicKey()
		if err != nil || !key.Equal(a.key.public) {
			t.Fatalf("%s: key %v, %v", a.DID, key, err)
		}
		if ident.PDSEndpoint() != n.Host(0).URL {
			t.Errorf("endpoint %q", ident.PDSEndpoint())
		}
		forms[doc.VerificationMethod[0].Type]++
	}
	if len(forms) != 3 {
		t.Errorf("forms %v, want Multikey and two legacy ones", forms)
	}
	if code := getJSON(t, n.PLCURL()+"/did:plc:aaaaaaaaaaaaaaaaaaaaaaaa", nil); code != http.StatusNotFound {
		t.Errorf("unknown DID: %d", code)
	}
	n.Tombstone(n.Host(0).Account(0))
	if code := getJSON(t, n.PLCURL()+"/"+n.Host(0).Account(0).DID, nil); code != http.StatusGone {
		t.Errorf("tombstoned DID: %d", code)
	}
}

func TestDirectoryFailsAsTold(t *testing.T) {
	n := online(t, Options{Accounts: 1, Records: 10})
	did := n.Host(0).Account(0).DID
	n.PLC().SetFault(func(string) PLCFault { return PLCFault{Status: 429, RetryAfter: "7"} })
	if code := getJSON(t, n.PLCURL()+"/"+did, nil); code != 429 {
		t.Errorf("status %d", code)
	}
	n.PLC().SetFault(nil)
	if code := getJSON(t, n.PLCURL()+"/"+did, nil); code != 200 {
		t.Errorf("status %d", code)
	}
	if n.PLC().Requests(did) != 2 {
		t.Errorf("%d requests", n.PLC().Requests(did))
	}
}

func TestHostAnswersWhatRelaysAsk(t *testing.T) {
	n := online(t, Options{Seed: 5, Accounts: 3, Records: 10})
	h := n.Host(0)
	for _, a := range h.Accounts() {
		if _, err := h.Post(a); err != nil {
			t.Fatal(err)
		}
	}
	if err := h.Leave(h.Account(1), "takendown"); err != nil {
		t.Fatal(err)
	}
	var s repoStatus
	getJSON(t, h.URL+"/xrpc/com.atproto.sync.getRepoStatus?did="+h.Account(1).DID, &s)
	if s.Active || s.Status != "takendown" || s.Rev != "" {
		t.Errorf("status %+v", s)
	}
	var list struct {
		Cursor string
		Repos  []repoStatus
	}
	getJSON(t, h.URL+"/xrpc/com.atproto.sync.listRepos?limit=2", &list)
	if len(list.Repos) != 2 || list.Cursor == "" || list.Repos[0].Head == "" {
		t.Errorf("list %+v", list)
	}
	if code := getJSON(t, h.URL+"/xrpc/com.atproto.server.describeServer", nil); code != 200 {
		t.Errorf("describeServer %d", code)
	}
	if code := getJSON(t, h.URL+"/xrpc/com.atproto.sync.getRepoStatus?did=did:plc:nobody", nil); code != 400 {
		t.Errorf("unknown repo %d", code)
	}
}
