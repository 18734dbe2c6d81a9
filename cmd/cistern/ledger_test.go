package main

import (
	"encoding/json"
	"net/http"
	"net/url"
	"testing"

	"github.com/cistern-archive/cistern/internal/netsim"
)

// accepted asks the program's ledger how many events it accepted, by host.
func (p *program) accepted() map[string]int {
	p.t.Helper()
	byHost, cursor := make(map[string]int), ""
	for {
		q := url.Values{"limit": {"1"}, "since": {"2026-01-01T00:00:00Z"}}
		if cursor != "" {
			q.Set("cursor", cursor)
		}
		resp, err := http.Get("http://" + p.addr + "/xrpc/network.cistern.getHostLedger?" + q.Encode())
		if err != nil {
			p.t.Fatal(err)
		}
		var page struct {
			Cursor string
			Rows   []struct {
				Hostname string
				Accepted int
			}
		}
		err = json.NewDecoder(resp.Body).Decode(&page)
		resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusOK {
			p.t.Fatalf("HTTP %d: %v", resp.StatusCode, err)
		}
		for _, r := range page.Rows {
			byHost[r.Hostname] += r.Accepted
		}
		if cursor = page.Cursor; cursor == "" {
			return byHost
		}
	}
}

func sumOf(byHost map[string]int) (n int) {
	for _, c := range byHost {
		n += c
	}
	return n
}

func TestTheLedgerOutlivesTheProcess(t *testing.T) {
	network, err := netsim.New(netsim.Options{Seed: seed(t), Hosts: 3, Accounts: 5, Records: 30})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := network.Close(); err != nil {
			t.Error(err)
		}
	}()
	p := buildProgram(t, network)
	steps := func(n int) {
		t.Helper()
		for range n {
			if err := network.Step(); err != nil {
				t.Fatal(err)
			}
		}
	}
	p.start()
	p.waitHealthy()
	steps(100)
	first := network.Len() // all of it honest
	p.until("counting all", func() bool { return sumOf(p.accepted()) == first })
	p.terminate()

	p.start()
	p.waitHealthy()
	if got := sumOf(p.accepted()); got != first {
		t.Errorf("%d accepted after a clean stop, want %d", got, first)
	}
	steps(50)
	second := network.Len()
	p.until("counting on", func() bool { return sumOf(p.accepted()) == second })
	p.kill()

	p.start()
	p.waitHealthy()
	steps(30)
	all := network.Len()
	p.until("counting on", func() bool { return sumOf(p.accepted()) >= first+all-second })
	// What was counted since the last write is lost; what the log does not have of it is
	// read and counted again.
	if got := sumOf(p.accepted()); got > all {
		t.Errorf("%d accepted, more than there were", got)
	}
	if hosts := len(p.accepted()); hosts != 3 {
		t.Errorf("%d hosts", hosts)
	}
	p.terminate()
}
