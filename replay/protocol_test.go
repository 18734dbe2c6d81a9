package replay

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

func TestBadRequestsGetAnXRPCError(t *testing.T) {
	g := newRig(t, 1<<20, nil)
	for _, c := range []struct {
		method, query string
		status        int
		name          string
	}{
		{"GET", "cursor=-1", 400, "InvalidRequest"},
		{"GET", "cursor=", 400, "InvalidRequest"},
		{"GET", "cursor=abc", 400, "InvalidRequest"},
		{"GET", "cursor=1.5", 400, "InvalidRequest"},
		{"GET", "cursor=99999999999999999999", 400, "InvalidRequest"},
		{"GET", "since=yesterday", 400, "InvalidRequest"},
		{"GET", "since=", 400, "InvalidRequest"},
		{"GET", "since=2026-01-01T00:00:00Z&cursor=0", 400, "InvalidRequest"},
		{"GET", "cursor=0&cursor=1", 400, "InvalidRequest"},
		{"GET", "stream=00000000000000000000000000000000", 400, StreamMismatch},
		{"POST", "cursor=0", 405, "InvalidRequest"},
		{"DELETE", "", 405, "InvalidRequest"},
		{"GET", "cursor=0", 426, "InvalidRequest"},
	} {
		req, err := http.NewRequest(c.method, g.http.URL+"/xrpc/com.atproto.sync.subscribeRepos?"+c.query, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		var body struct{ Error, Message string }
		if err := json.NewDecoder(resp.Body).Decode(&body); err != nil {
			t.Fatalf("%s ?%s: %v", c.method, c.query, err)
		}
		resp.Body.Close()
		if resp.StatusCode != c.status || body.Error != c.name || body.Message == "" {
			t.Errorf("%s ?%s: %d %+v, want %d %s", c.method, c.query, resp.StatusCode, body, c.status, c.name)
		}
	}
	http.DefaultClient.CloseIdleConnections()
}

func TestAFutureCursorGetsAnErrorFrameAndClose1008(t *testing.T) {
	g := newRig(t, 1<<20, nil)
	g.append(10, 50)
	g.waitFor(10)
	c := g.dial("cursor=9000000000000000")
	defer c.conn.Close()
	op, payload, err := c.frame()
	if err != nil || op != opBinary {
		t.Fatalf("opcode %d, %v", op, err)
	}
	var head struct {
		Op int `cbor:"op"`
	}
	var body struct {
		Error   string `cbor:"error"`
		Message string `cbor:"message"`
	}
	rest, err := cbor.UnmarshalFirst(payload, &head)
	if err == nil {
		err = cbor.Unmarshal(rest, &body)
	}
	if err != nil || head.Op != -1 || body.Error != FutureCursor || !strings.Contains(body.Message, g.log.Stream().ID) {
		t.Fatalf("%v %+v %+v", err, head, body)
	}
	wantClose(t, c, 1008)
}

// wantClose reads frames up to a close frame with this code.
func wantClose(t *testing.T, c *rawConsumer, code int) {
	t.Helper()
	for {
		op, payload, err := c.frame()
		if err != nil {
			t.Fatalf("no close frame: %v", err)
		}
		if op != opClose {
			continue
		}
		if got := int(payload[0])<<8 | int(payload[1]); got != code {
			t.Fatalf("close %d, want %d", got, code)
		}
		return
	}
}

func TestACursorBetweenTipAndReservationWaits(t *testing.T) {
	g := newRig(t, 1<<20, nil)
	g.append(10, 50)
	g.waitFor(10)
	c := g.dial("cursor=15")
	defer c.conn.Close()
	g.append(10, 50) // 11 … 20
	g.waitFor(20)
	if err := c.expect(g.from(15, 20)); err != nil {
		t.Fatal(err)
	}
}

func TestTheUpgradeNamesTheStream(t *testing.T) {
	g := newRig(t, 1<<20, nil)
	c := g.dial("stream=" + g.log.Stream().ID)
	defer c.conn.Close()
	if got := c.resp.Header.Get("Cistern-Stream"); got != g.log.Stream().ID || c.resp.Header.Get("Server") != "test" {
		t.Fatalf("headers %v", c.resp.Header)
	}
}

func TestWithoutACursorOnlyNewEventsCome(t *testing.T) {
	g := newRig(t, 1<<20, nil)
	g.append(10, 50)
	g.waitFor(10)
	c := g.dial("")
	defer c.conn.Close()
	g.append(5, 50)
	g.waitFor(15)
	if err := c.expect(g.from(10, 15)); err != nil {
		t.Fatal(err)
	}
}

func TestShutdownSendsTheRestAndClosesWith1012(t *testing.T) {
	g := newRig(t, 1<<20, nil)
	c := g.dial("cursor=0")
	defer c.conn.Close()
	g.append(100, 50)
	g.waitFor(100)
	go g.close()
	if err := c.expect(g.from(0, 100)); err != nil {
		t.Fatal(err)
	}
	wantClose(t, c, 1012)
	if _, err := c.r.ReadByte(); !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	g.srv.done.Wait()
}

func TestAPingIsAnsweredAndACloseIsEchoed(t *testing.T) {
	g := newRig(t, 1<<20, nil)
	c := g.dial("")
	defer c.conn.Close()
	if err := c.send(opPing, "are you there"); err != nil {
		t.Fatal(err)
	}
	op, payload, err := c.frame()
	if err != nil || op != opPong || string(payload) != "are you there" {
		t.Fatalf("opcode %d %q %v", op, payload, err)
	}
	if err := c.send(opClose, "\x03\xe8"); err != nil {
		t.Fatal(err)
	}
	wantClose(t, c, 1000)
}

// waitClosed waits until a connection has ended for this reason.
func waitClosed(t *testing.T, g *rig, reason string) {
	t.Helper()
	g.srv.done.Wait()
	if n := testutil.ToFloat64(g.srv.metrics.closed.WithLabelValues(reason)); n != 1 {
		t.Fatalf("%v connections ended as %s", n, reason)
	}
}

func TestASilentConsumerIsClosed(t *testing.T) {
	g := newRig(t, 1<<20, func(o *Options) { o.PingInterval, o.PongTimeout = 5*time.Millisecond, 50*time.Millisecond })
	c := g.dial("")
	defer c.conn.Close()
	waitClosed(t, g, reasonSilent)
}

func TestAStalledConsumerIsClosedAndASlowOneIsNot(t *testing.T) {
	g := newRig(t, 1<<20, func(o *Options) {
		o.StallTimeout, o.PingInterval, o.PongTimeout = 200*time.Millisecond, 5*time.Millisecond, 50*time.Millisecond
	})
	g.append(20_000, 1000) // more than socket buffers hold
	g.waitFor(20_000)
	slow := g.dial("cursor=0")
	want := g.from(0, 20_000)
	for off, step := 0, 1<<20; off < len(want); off += step {
		if off < 6*step {
			time.Sleep(60 * time.Millisecond) // slower than a ping, faster than a stall
		}
		if err := slow.expect(want[off:min(off+step, len(want))]); err != nil {
			t.Fatal(err)
		}
	}
	slow.conn.Close()
	g.srv.done.Wait()
	stalled := g.dial("cursor=0")
	defer stalled.conn.Close()
	waitClosed(t, g, reasonStalled)
}
