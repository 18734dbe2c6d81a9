package ingest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"github.com/cistern-archive/cistern/internal/accounts"
)

// hijacked is a ResponseWriter for a bare connection.
type hijacked struct {
	http.ResponseWriter
	c  net.Conn
	br *bufio.Reader
}

func (h hijacked) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return h.c, bufio.NewReadWriter(h.br, bufio.NewWriter(h.c)), nil
}

// answerUpgrade does the server's part of a WebSocket handshake on a bare connection.
func answerUpgrade(c net.Conn) (*websocket.Conn, error) {
	br := bufio.NewReader(c)
	req, err := http.ReadRequest(br)
	if err != nil {
		return nil, err
	}
	up := websocket.Upgrader{CheckOrigin: func(*http.Request) bool { return true }}
	return up.Upgrade(hijacked{c: c, br: br}, req, nil)
}

// bubbleManager reads one host over pipes inside a synctest bubble. dial is called
// with the number of the attempt and plays the host.
func bubbleManager(t *testing.T, host string, dial func(i int) (net.Conn, error)) *Manager {
	t.Helper()
	i := -1
	m, err := New(Options{
		Log: &memLog{}, Resolver: believer{host}, Accounts: accounts.NewTable(accounts.Options{}),
		Dial: DialOptions{
			Jitter: func(d time.Duration) time.Duration { return d },
			DialTrusted: func(context.Context, string, string) (net.Conn, error) {
				i++
				return dial(i)
			},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := m.AddHost("http://"+host, true); err != nil {
		t.Fatal(err)
	}
	return m
}

func TestAHostIsRedialledForEverLaterAndLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		var at []time.Duration
		m := bubbleManager(t, "pds.example", func(int) (net.Conn, error) {
			at = append(at, time.Since(begin).Round(time.Millisecond))
			return nil, errors.New("nobody is there")
		})
		time.Sleep(3 * time.Minute)
		if err := m.Stop(t.Context()); err != nil {
			t.Error(err)
		}
		s := time.Second
		want := []time.Duration{0, 1 * s, 3 * s, 7 * s, 15 * s, 31 * s, 61 * s, 91 * s, 121 * s, 151 * s}
		if !slices.Equal(at, want) {
			t.Errorf("dialled at %v, want %v", at, want)
		}
	})
}

func TestAHostThatAcceptsAndClosesIsNotRedialledAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dials := 0
		m := bubbleManager(t, "pds.example", func(i int) (net.Conn, error) {
			dials++
			ours, theirs := net.Pipe()
			go func() {
				_, _ = answerUpgrade(theirs) // closed at once, whatever came of it
				theirs.Close()
			}()
			return ours, nil
		})
		time.Sleep(time.Minute)
		if err := m.Stop(t.Context()); err != nil {
			t.Error(err)
		}
		if dials != 6 { // at 0, 1, 3, 7, 15, 31 s
			t.Errorf("%d dials in a minute, want 6", dials)
		}
	})
}

// The host says nothing but answers pings for ten minutes, and then is dead silent.
func TestASilentHostIsPingedAndGivenUpWhenItDoesNotAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const alive = 10 * time.Minute
		begin := time.Now()
		var dials []time.Duration
		pings := 0
		m := bubbleManager(t, "pds.example", func(i int) (net.Conn, error) {
			dials = append(dials, time.Since(begin).Round(time.Second))
			ours, theirs := net.Pipe()
			go func() {
				defer theirs.Close()
				c, err := answerUpgrade(theirs)
				if err != nil {
					return
				}
				c.SetPingHandler(func(data string) error {
					pings++
					if time.Since(begin) > alive {
						return nil
					}
					return c.WriteControl(websocket.PongMessage, []byte(data), time.Time{})
				})
				drain(c)
			}()
			return ours, nil
		})
		time.Sleep(alive + 3*time.Minute)
		if err := m.Stop(t.Context()); err != nil {
			t.Error(err)
		}
		if pings < int(alive/time.Minute) {
			t.Errorf("%d pings in %v of silence", pings, alive)
		}
		if len(dials) < 2 || dials[1] < alive+60*time.Second || dials[1] > alive+92*time.Second {
			t.Errorf("dialled at %v; the silence began after %v", dials, alive)
		}
	})
}

func TestAMessageThatNeverEndsIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		var second time.Duration
		m := bubbleManager(t, "pds.example", func(i int) (net.Conn, error) {
			if i == 1 {
				second = time.Since(begin)
			}
			ours, theirs := net.Pipe()
			go func() {
				defer theirs.Close()
				if _, err := answerUpgrade(theirs); err != nil {
					return
				}
				go drainBytes(theirs)
				_, err := theirs.Write([]byte{0x02, 1, 0}) // a binary fragment, not the last
				for err == nil {
					time.Sleep(time.Second)
					_, err = theirs.Write([]byte{0x00, 1, 0, 0x8a, 0}) // one more, and a pong
				}
			}()
			return ours, nil
		})
		time.Sleep(3 * time.Minute)
		if err := m.Stop(t.Context()); err != nil {
			t.Error(err)
		}
		time.Sleep(2 * time.Second) // virtual: the last script notices that it is over
		if second < 90*time.Second || second > 125*time.Second {
			t.Errorf("given up after %v, want 90 s to 2 min", second)
		}
	})
}

func drainBytes(c net.Conn) {
	b := make([]byte, 512)
	for {
		if _, err := c.Read(b); err != nil {
			return
		}
	}
}

func TestBackoffDoublesToItsCapAndStartsAgain(t *testing.T) {
	b := backoff{base: time.Second, cap: time.Hour, jitter: func(d time.Duration) time.Duration { return d }}
	prev := time.Duration(0)
	for i := range 100 {
		d := b.next()
		if d < prev || d > time.Hour || (i > 12 && d != time.Hour) {
			t.Fatalf("wait %d is %v after %v", i, d, prev)
		}
		prev = d
	}
	b.reset()
	if d := b.next(); d != time.Second {
		t.Errorf("first wait after a reset is %v", d)
	}
}

func TestAskedRecentlyIsForgottenInTimeAndBounded(t *testing.T) {
	r := newRecent(time.Minute, 2)
	now := time.Now()
	for i, want := range []bool{false, false, true, true} {
		if got := r.spent("a", now); got != want {
			t.Errorf("use %d: spent %v, want %v", i, got, want)
		}
		r.use("a", now)
	}
	if r.spent("a", now.Add(time.Minute)) {
		t.Error("spent after its time")
	}
	for i := range 100_000 {
		now = now.Add(time.Second)
		r.use(fmt.Sprint(i), now)
	}
	if len(r.m) > 2*minPrune {
		t.Errorf("%d entries are kept of a rate of 60 a minute", len(r.m))
	}
}

func TestHostsAreNamedAsTheLogWritesThem(t *testing.T) {
	for _, c := range []struct {
		raw     string
		trusted bool
		want    string // "" for refused
	}{
		{"https://PDS.example.com", false, "pds.example.com"}, {"pds.example.com", false, "pds.example.com"},
		{"wss://pds.example.com/", false, "pds.example.com"}, {"https://pds.example.com:443", false, "pds.example.com"},
		{"http://pds.example.com", false, ""}, {"https://pds.example.com:8443", false, ""}, {"https://localhost", false, ""},
		{"https://127.0.0.1", false, ""}, {"https://[2606:4700::1]", false, ""}, {"https://a.example.com/path", false, ""},
		{"https://u:p@a.example.com", false, ""}, {"https://a.example.com?x=1", false, ""}, {"", false, ""}, {"https://a b.com", false, ""},
		{"http://localhost:2583", true, "localhost:2583"}, {"http://127.0.0.1:80", true, "127.0.0.1"}, {"ws://[::1]:9", true, "[::1]:9"},
		{"ftp://a.example.com", true, ""}, {"https://a.example.com/path", true, ""}, {"http://", true, ""},
	} {
		a, err := parseHost(c.raw, c.trusted)
		if (err == nil) != (c.want != "") || (err == nil && a.name != c.want) {
			t.Errorf("parseHost(%q, %v) = %q, %v; want %q", c.raw, c.trusted, a.name, err, c.want)
		}
	}
}

// What a stranger may name is a plain DNS name, whatever he writes.
func FuzzHostName(f *testing.F) {
	for _, s := range []string{"https://PDS.example.com/", "pds.example.com:443", "wss://a.b", "http://[::1]:9", "a.example\x00", "https://a.example@b.example", "xn--a.example"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		name, plain, err := HostName(raw, false)
		if err == nil {
			again, _, err := HostName(name, false)
			if plain || again != name || err != nil || strings.ToLower(name) != name || strings.ContainsAny(name, ":/@[]?#% ") || !strings.Contains(name, ".") {
				t.Errorf("%q is the host %q (plain %v), and that %q, %v", raw, name, plain, again, err)
			}
		}
		if name, plain, err := HostName(raw, true); err == nil {
			scheme := "https://"
			if plain {
				scheme = "http://"
			}
			if again, p, err := HostName(scheme+name, true); again != name || p != plain || err != nil {
				t.Errorf("an operator's %q is the host %q, and that %q, %v", raw, name, again, err)
			}
		}
	})
}
