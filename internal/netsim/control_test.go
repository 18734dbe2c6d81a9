package netsim

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
)

// ask sends a request to the control endpoint and returns status and body.
func ask(t *testing.T, base, method, path string) (int, []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, base+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	http.DefaultClient.CloseIdleConnections()
	return resp.StatusCode, body
}

func TestAnotherProcessSteersTheNetwork(t *testing.T) {
	n := online(t, Options{Hosts: 2, Accounts: 2, Records: 20})
	server := httptest.NewServer(n.ControlHandler())
	defer server.Close()
	for _, path := range []string{
		"/step?count=5", "/host/1/lie?name=ops-emptied", "/host/0/dialect?name=absent-blobs", "/host/0/disconnect",
		"/host/0/stall", "/host/0/resume", "/host/1/stop", "/host/1/start",
	} {
		if code, body := ask(t, server.URL, http.MethodPost, path); code != http.StatusOK {
			t.Errorf("%s: %d %s", path, code, body)
		}
	}
	for _, path := range []string{"/host/9/stop", "/host/0/dance", "/host/0/lie?name=x", "/host/0/dialect?name=x", "/step?count=-1"} {
		if code, _ := ask(t, server.URL, http.MethodPost, path); code < 400 {
			t.Errorf("%s: %d", path, code)
		}
	}
	_, body := ask(t, server.URL, http.MethodGet, "/ledger")
	entries, err := ReadLedger(bytes.NewReader(body))
	if err != nil || len(entries) != n.Len() {
		t.Fatalf("%d entries of %d, %v", len(entries), n.Len(), err)
	}
	_, body = ask(t, server.URL, http.MethodGet, "/ledger?from=3")
	if entries, err = ReadLedger(bytes.NewReader(body)); err != nil || entries[0].Index != 3 {
		t.Errorf("from 3: %v, %v", entries, err)
	}
	_, body = ask(t, server.URL, http.MethodGet, "/frame?index=2")
	if want, err := n.Frame(2); err != nil || !bytes.Equal(body, want) {
		t.Errorf("frame: %v", err)
	}
	if code, _ := ask(t, server.URL, http.MethodGet, "/frame?index=999"); code != http.StatusBadRequest {
		t.Errorf("frame that is not: %d", code)
	}
	if _, body = ask(t, server.URL, http.MethodGet, "/hosts"); !bytes.Contains(body, []byte(n.Host(1).URL)) {
		t.Errorf("hosts: %s", body)
	}
}
