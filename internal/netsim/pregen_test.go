package netsim

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	comatproto "github.com/bluesky-social/indigo/api/atproto"
	"github.com/gorilla/websocket"
)

func generated(t testing.TB, o Options, events int) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "frames")
	if err := Generate(path, o, events); err != nil {
		t.Fatal(err)
	}
	return path
}

func load(t testing.TB, path string, o Options) *Network {
	t.Helper()
	n, err := Load(path, o)
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

func TestGeneratedFramesAreServedAgain(t *testing.T) {
	const events = 800
	o := Options{Seed: 6, Hosts: 3, Accounts: 5, Records: 40, Churn: 0.1}
	path := generated(t, o, events)
	n := load(t, path, Options{})
	if n.Len() != events {
		t.Fatalf("%d events", n.Len())
	}
	kinds := map[string]int{}
	for i, e := range n.Ledger() {
		frame, err := n.Frame(i)
		if err != nil {
			t.Fatal(err)
		}
		kinds[e.Kind]++
		if e.Kind == "#commit" {
			if err := verifyCommit(n, decodePayload[comatproto.SyncSubscribeRepos_Commit](t, frame)); err != nil {
				t.Fatalf("%v: %v", e, err)
			}
		}
	}
	if len(kinds) != 4 {
		t.Errorf("kinds %v", kinds)
	}
	if err := n.Run(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	ledger := n.Ledger()
	for i := range 3 {
		c := dial(t, n.Host(i), "?cursor=0")
		for _, e := range ledger {
			if e.Host != n.Host(i).Name {
				continue
			}
			if p, err := Peek(read(t, c)); err != nil || p.Digest != e.Want {
				t.Fatalf("%v: %+v, %v", e, p, err)
			}
		}
		waitSent(t, n.Host(i))
	}
	if code := getJSON(t, n.PLCURL()+"/"+n.Host(1).Account(0).DID, nil); code != 200 {
		t.Errorf("document %d", code)
	}
	if _, err := n.Host(0).Post(n.Host(0).Account(0)); err == nil {
		t.Error("a loaded account emits")
	}
}

func TestGenerationDependsOnTheSeedAlone(t *testing.T) {
	o := Options{Seed: 6, Hosts: 3, Accounts: 5, Records: 40, Churn: 0.1}
	a, err := os.ReadFile(generated(t, o, 200))
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(generated(t, o, 200))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(a, b) {
		t.Error("two runs differ")
	}
}

func TestLoadedNetworkPublishesAtARate(t *testing.T) {
	n := load(t, generated(t, Options{Hosts: 2, Accounts: 2, Records: 20}, 50), Options{})
	c := dial(t, n.Host(0), "?cursor=0")
	if err := n.Run(t.Context(), 1000); err != nil {
		t.Fatal(err)
	}
	for _, e := range n.Ledger() {
		if e.Host == n.Host(0).Name {
			if p, err := Peek(read(t, c)); err != nil || p.Digest != e.Want {
				t.Fatalf("%v: %+v, %v", e, p, err)
			}
		}
	}
}

func TestDamagedFileIsRefused(t *testing.T) {
	path := generated(t, Options{Accounts: 2, Records: 20}, 20)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{
		"empty": nil, "no magic": append([]byte("x"), whole...), "no index": whole[:len(whole)/2],
		"unfinished":  append(append([]byte(pregenMagic), make([]byte, 8)...), whole[16:]...),
		"a bad frame": append(append(bytes.Clone(whole[:16]), 0xff, 0xff, 0xff, 0xff), whole[20:]...),
	} {
		bad := filepath.Join(t.TempDir(), "bad")
		if err := os.WriteFile(bad, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(bad, Options{Offline: true}); err == nil || !strings.Contains(err.Error(), "load frames") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// BenchmarkSend measures how fast generated frames go out of one host through
// loopback, with a reader that only counts bytes.
func BenchmarkSend(b *testing.B) {
	n := load(b, generated(b, Options{Accounts: 50, Records: 100}, 5000), Options{})
	if err := n.Run(b.Context(), 0); err != nil {
		b.Fatal(err)
	}
	size := int64(0)
	for _, e := range n.hosts[0].log {
		size += int64(len(appendFrameHead(nil, websocket.BinaryMessage, e.length)) + e.length)
	}
	buf := make([]byte, 1<<20)
	b.SetBytes(size)
	for b.Loop() {
		c, err := net.Dial("tcp", n.Host(0).Name)
		if err != nil {
			b.Fatal(err)
		}
		fmt.Fprintf(c, "GET /xrpc/com.atproto.sync.subscribeRepos?cursor=0 HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n"+
			"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n")
		for left := size; left > 0; {
			k, err := c.Read(buf)
			if err != nil {
				b.Fatal(err)
			}
			left -= int64(k)
		}
		if err := c.Close(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)*5000/b.Elapsed().Seconds(), "events/s")
}
