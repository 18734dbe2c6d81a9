package relay

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// Ten thousand calls of requestCrawl, from as many addresses, with names that lead to this
// machine or nowhere: nothing is dialled that is not public, nothing stays, and who asks for
// the relay's health meanwhile gets an answer.
func TestTenThousandHostileNamesReachNobodyAndLeaveHealthAlone(t *testing.T) {
	trap, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var caught atomic.Int32
	var trapping sync.WaitGroup
	trapping.Go(func() {
		for {
			c, err := trap.Accept()
			if err != nil {
				return
			}
			caught.Add(1)
			c.Close()
		}
	})
	defer trapping.Wait()
	defer trap.Close()
	s := newStage(t)
	s.cfg.Crawl.Proxies, s.cfg.Crawl.NewHostsPerDay = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, 50
	s.start()
	defer s.stop()
	at := trap.Addr().String()
	_, port, _ := strings.Cut(at, ":")
	names := []string{
		at, "http://" + at, "https://" + at, "localhost:" + port, "localhost", "127.0.0.1", "10.0.0.1", "169.254.169.254", "[::1]:" + port, "[::ffff:127.0.0.1]",
		"0x7f000001", "2130706433", "user@localhost", "a/b", "*.example.com", "xn--", strings.Repeat("a.", 2000) + "b", "", "\x00",
	}
	before := heap()
	var asking, watching sync.WaitGroup
	done := make(chan struct{})
	looks := 0
	watching.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
			}
			var body struct{ Status string }
			if code := s.get("/_health", &body); code != http.StatusOK {
				t.Errorf("health: HTTP %d %+v", code, body)
			}
			looks++
		}
	})
	client := http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 32}}
	defer client.CloseIdleConnections()
	var answers [600]atomic.Int32
	var next atomic.Int32
	for range 32 {
		asking.Go(func() {
			for i := next.Add(1); i <= 10_000; i = next.Add(1) {
				body, err := json.Marshal(map[string]string{"hostname": names[int(i)%len(names)]})
				if err != nil {
					t.Error(err)
					return
				}
				req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+s.Addr()+"/xrpc/com.atproto.sync.requestCrawl", strings.NewReader(string(body)))
				if err != nil {
					t.Error(err)
					return
				}
				req.Header.Set("X-Forwarded-For", fmt.Sprintf("%d.%d.%d.9", 1+i>>16, i>>8&255, i&255))
				resp, err := client.Do(req)
				if err != nil {
					t.Error(err)
					return
				}
				resp.Body.Close()
				answers[resp.StatusCode].Add(1)
			}
		})
	}
	asking.Wait()
	close(done)
	watching.Wait()
	if n := answers[400].Load() + answers[429].Load(); n != 10_000 || answers[400].Load() == 0 {
		t.Errorf("%d calls were refused, %d of them as invalid", n, answers[400].Load())
	}
	if n := caught.Load(); n > 0 {
		t.Errorf("%d connections came to a private address", n)
	}
	if n := len(s.crawler.Hosts()); n != len(s.net.Hosts()) {
		t.Errorf("%d hosts are known", n)
	}
	if grown := int64(heap()) - int64(before); grown > 32<<20 {
		t.Errorf("the heap grew by %d bytes", grown)
	}
	if looks < 10 {
		t.Errorf("health was asked for %d times", looks)
	}
}

// heap is what lives, in bytes.
func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
