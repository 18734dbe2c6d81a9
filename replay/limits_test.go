package replay

import (
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"
)

func TestMoreConsumersThanAllowedAreRefusedAndAPlaceThatIsLeftIsFree(t *testing.T) {
	g := newRig(t, 1<<20, func(o *Options) {
		o.MaxConsumers, o.MaxPerAddress = 3, 2
		o.ClientAddr = func(r *http.Request) netip.Addr { return netip.MustParseAddr(r.URL.Query().Get("from")) }
	})
	first := g.dial("from=192.0.2.1")
	for _, c := range []struct {
		from   string
		status int
	}{
		{"192.0.2.1", 101}, {"192.0.2.1", 429}, {"2001:db8::1", 101}, {"2001:db8:1::1", 503}, {"192.0.2.1", 503},
	} {
		resp := g.dial("from=" + c.from)
		defer resp.conn.Close()
		if resp.resp.StatusCode != c.status {
			t.Fatalf("from %s: %d, want %d", c.from, resp.resp.StatusCode, c.status)
		}
		if c.status != 101 && resp.resp.Header.Get("Retry-After") == "" {
			t.Fatalf("from %s: no Retry-After", c.from)
		}
	}
	first.conn.Close()
	g.until(func() bool { return len(g.srv.Consumers()) == 2 && g.srv.count() == 2 })
	again := g.dial("from=192.0.2.1")
	defer again.conn.Close()
	if again.resp.StatusCode != 101 {
		t.Fatalf("the place that was left: %d", again.resp.StatusCode)
	}
}

func TestOneNetworkOf64BitsAndOneIPv4AddressAreOneSite(t *testing.T) {
	for _, c := range []struct {
		a, b string
		same bool
	}{
		{"192.0.2.1", "192.0.2.2", false}, {"2001:db8::1", "2001:db8::2", true}, {"2001:db8::1", "2001:db8:0:1::1", false},
		{"::1", "::1", true},
	} {
		if same := siteOf(netip.MustParseAddr(c.a)) == siteOf(netip.MustParseAddr(c.b)); same != c.same {
			t.Errorf("%s and %s: %v", c.a, c.b, same)
		}
	}
}

// until looks again whenever somebody may have left; it gives up after a while.
func (g *rig) until(cond func() bool) {
	g.t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !cond() {
		if time.Now().After(deadline) {
			g.t.Fatal("it did not happen in 20 s")
		}
		time.Sleep(time.Millisecond)
	}
}

func TestAConsumersRateIsHeldOnFilesOnly(t *testing.T) {
	p := newPacer(1 << 20)
	if wait := p.after(2 * maxWrite); wait != 0 {
		t.Fatalf("the first write waits %s", wait)
	}
	var sum time.Duration
	for range 8 {
		sum = p.after(maxWrite)
	}
	if sum < time.Second || sum > 3*time.Second { // 2.5 MiB at 1 MiB/s, less a burst of 1 MiB
		t.Fatalf("after 2.5 MiB at 1 MiB/s the next one waits %s", sum)
	}
	if newPacer(0).after(1<<30) != 0 {
		t.Fatal("no limit, and a wait")
	}
}

func TestSinceStartsAtTheFirstEventThatWasWitnessedThen(t *testing.T) {
	g := newRig(t, 1<<20, nil)
	g.append(50, 50)
	g.waitFor(50)
	time.Sleep(2 * time.Millisecond) // so that the clock of the log moves on
	between := time.Now()
	time.Sleep(2 * time.Millisecond)
	g.append(50, 50)
	g.waitFor(100)
	for _, c := range []struct {
		since time.Time
		after uint64
	}{{time.Unix(0, 0), 0}, {between, 50}, {between.Add(time.Hour), 100}} {
		pos, err := g.log.SeqAt(c.since.UnixMicro())
		if err != nil || pos != c.after {
			t.Fatalf("since %s: after %d, %v; want %d", c.since, pos, err, c.after)
		}
	}
	c := g.dial("since=" + strings.ReplaceAll(between.Format(time.RFC3339Nano), "+", "%2B"))
	defer c.conn.Close()
	if err := c.expect(g.from(50, 100)); err != nil {
		t.Fatal(err)
	}
}

func TestAnOperatorSeesWhereEachConsumerIs(t *testing.T) {
	g := newRig(t, 1<<20, nil)
	g.append(100, 50)
	g.waitFor(100)
	c := g.dial("cursor=0")
	defer c.conn.Close()
	if err := c.expect(g.from(0, 100)); err != nil {
		t.Fatal(err)
	}
	g.until(func() bool { i := g.srv.Consumers(); return len(i) == 1 && i[0].Position == 100 })
	i := g.srv.Consumers()[0]
	if i.Lag != 0 || i.Events != 100 || i.Bytes != uint64(len(g.from(0, 100))) || i.Tier != "memory" || i.RemoteAddr != "127.0.0.1" {
		t.Fatalf("%+v", i)
	}
}
