package rogue

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"go.uber.org/goleak"

	"github.com/cistern-archive/cistern/internal/frame"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newHost(t *testing.T, kind Kind, opts Options) *Host {
	t.Helper()
	h, err := New(kind, opts)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

const request = "GET /xrpc/com.atproto.sync.subscribeRepos?cursor=7 HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
	"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"

// hear asks a host for its stream on a pipe and returns what it says until enough holds.
func hear(t *testing.T, h *Host, enough func([]byte) bool) []byte {
	t.Helper()
	ours, theirs := net.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		h.Play(theirs)
	}()
	defer func() {
		ours.Close()
		<-done
	}()
	return ask(t, ours, enough)
}

func ask(t *testing.T, c net.Conn, enough func([]byte) bool) (said []byte) {
	t.Helper()
	if err := c.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(c, request); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 64<<10)
	for !enough(said) {
		n, err := c.Read(b)
		said = append(said, b[:n]...)
		if errors.Is(err, io.EOF) {
			return said
		}
		if err != nil {
			t.Fatalf("after %d bytes: %v", len(said), err)
		}
	}
	return said
}

// What each kind says after its request, as bytes that must come in this order.
var said = map[Kind][]string{
	SlowHeaders:    {statusLine, "X-Patience-0: yes\r\n", "X-Patience-3: yes\r\n"},
	EndlessHeaders: {statusLine, strings.Repeat("X-Long: "+strings.Repeat("x", 1000)+"\r\n", 300)},
	EndlessLine:    {statusLine, "X-Long: " + strings.Repeat("x", 300_000)},
	EndlessBody:    {"HTTP/1.1 200 OK\r\n", "\r\n\r\n{" + strings.Repeat(" ", 300_000)},
	Compressed:     {"permessage-deflate", "\r\n\r\n\xc2", "\xc2"},
	SplitResponse:  {"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n", "\x82\x0f" + string(unknownMessage)},
	TinyFragments:  {"\r\n\r\n\x02\x01\x00", strings.Repeat("\x00\x01\x00", 1000)},
	EmptyFragments: {"\r\n\r\n\x02\x00", strings.Repeat("\x00\x00", 1000)},
	LargeFragments: {"\r\n\r\n\x02\x7f\x00\x00\x00\x00\x00\x01\x00\x00", "\x00\x7f\x00\x00\x00\x00\x00\x01\x00\x00", "\x00\x7f\x00\x00\x00\x00\x00\x01\x00\x00"},
	SlowFragments:  {"\r\n\r\n\x02\x01\x00", strings.Repeat("\x00\x01\x00\x8a\x00", 3)},
	LyingLength:    {"\r\n\r\n\x82\x7f\x40\x00\x00\x00\x00\x00\x00\x00"},
	PingFlood:      {"\r\n\r\n\x89\x0e", strings.Repeat("\x89\x0eare you there?", 500)},
	PongFlood:      {"\r\n\r\n\x8a\x0e", strings.Repeat("\x8a\x0eare you there?", 500)},
	Text:           {"\r\n\r\n\x81\x08{\"op\":1}"},
	Reserved:       {"\r\n\r\n\x83\x00"},
	Oversized:      {"\r\n\r\n\x82\x7f\x00\x00\x00\x00\x00\x5b\x8d\x80", "\x82\x7f\x00\x00\x00\x00\x00\x5b\x8d\x80"},
	Silent:         {"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"},
}

func TestEveryKindSaysOnTheWireWhatItsNameSays(t *testing.T) {
	for _, kind := range Kinds() {
		want := said[kind]
		if want == nil {
			continue // of those that say nothing, or something random, below
		}
		t.Run(string(kind), func(t *testing.T) {
			h := newHost(t, kind, Options{Every: time.Millisecond})
			has := func(b []byte) bool {
				for _, w := range want {
					i := bytes.Index(b, []byte(w))
					if i < 0 {
						return false
					}
					b = b[i+len(w):]
				}
				return true
			}
			if got := hear(t, h, has); !has(got) {
				t.Errorf("it said %d bytes, %.300q", len(got), got)
			}
			if c := h.Count(); c.Connections != 1 || c.Fired < 1 {
				t.Errorf("%+v", c)
			}
			if c := h.Cursors(); len(c) != 1 || c[0] != 7 {
				t.Errorf("cursors %v, want 7", c)
			}
		})
	}
}

func TestAMuteHostWaitsUntilItsGuestLeaves(t *testing.T) {
	h := newHost(t, Mute, Options{})
	ours, theirs := net.Pipe()
	go func() {
		_, _ = io.WriteString(ours, request) // seen below if it failed
		ours.Close()
	}()
	h.Play(theirs)
	if c := h.Count(); c != (Count{1, 1}) {
		t.Errorf("%+v", c)
	}
}

func TestGarbageIsOfTheSeed(t *testing.T) {
	first := hear(t, newHost(t, Garbage, Options{Seed: 5}), func(b []byte) bool { return len(b) >= 5000 })
	again := hear(t, newHost(t, Garbage, Options{Seed: 5}), func(b []byte) bool { return len(b) >= 5000 })
	if !bytes.Equal(first, again) || bytes.HasPrefix(first, []byte("HTTP")) {
		t.Errorf("%.50q and %.50q", first, again)
	}
}

// Whatever is cut is cut behind each byte in turn.
func TestCutsGoThroughAllBytes(t *testing.T) {
	whole := hear(t, newHost(t, Silent, Options{}), func(b []byte) bool { return bytes.HasSuffix(b, []byte("\r\n\r\n")) })
	for kind, from := range map[Kind]int{CutResponse: 0, ResetResponse: 0, CutMessage: len(whole), ResetMessage: len(whole)} {
		h := newHost(t, kind, Options{})
		n := len(whole)
		if from > 0 {
			n = len(unknownMessage) + 2
		}
		for i := range n + 1 {
			if got := hear(t, h, func([]byte) bool { return false }); len(got) != from+i%n {
				t.Errorf("%s %d: %d bytes, want %d", kind, i, len(got), from+i%n)
			}
		}
		if c := h.Count(); c.Fired != int64(n+1) {
			t.Errorf("%s: %+v", kind, c)
		}
	}
}

func TestASplitAnswerComesInTwoPieces(t *testing.T) {
	h := newHost(t, SplitResponse, Options{})
	for k := range 100 {
		pieces := 0
		got := hear(t, h, func(b []byte) bool {
			pieces++
			return pieces == 2 // asked before the first read and after it
		})
		if k > 0 && len(got) != k {
			t.Errorf("the first piece of %d has %d bytes", k, len(got))
		}
	}
}

func TestAResetIsOne(t *testing.T) {
	for _, kind := range []Kind{ResetResponse, ResetMessage, Resets} {
		s, err := Serve("127.0.0.1:0", newHost(t, kind, Options{Every: time.Millisecond}))
		if err != nil {
			t.Fatal(err)
		}
		reset := 0
		for range 20 {
			c, err := net.Dial("tcp", strings.TrimPrefix(s.URL, "http://"))
			if err != nil {
				t.Fatal(err)
			}
			_, _ = io.WriteString(c, request)
			if _, err := io.Copy(io.Discard, c); err != nil && strings.Contains(err.Error(), "reset") {
				reset++
			}
			c.Close()
		}
		s.Close()
		if c := s.Count(); reset != 20 || c.Fired != 20 {
			t.Errorf("%s: %d resets felt of %+v", kind, reset, c)
		}
	}
}

func TestAHostThatReformsIsAnHonestOne(t *testing.T) {
	for _, kind := range Kinds() {
		s, err := Serve("127.0.0.1:0", newHost(t, kind, Options{Reform: 1}))
		if err != nil {
			t.Fatal(err)
		}
		url := strings.Replace(s.URL, "http", "ws", 1) + "/xrpc/com.atproto.sync.subscribeRepos?cursor=3"
		d := websocket.Dialer{HandshakeTimeout: 50 * time.Millisecond}
		if c, _, err := d.DialContext(t.Context(), url, nil); err == nil {
			c.Close()
		}
		c, _, err := websocket.DefaultDialer.DialContext(t.Context(), url, nil)
		if err != nil {
			t.Fatalf("%s: %v", kind, err)
		}
		ponged := make(chan struct{})
		c.SetPongHandler(func(string) error { close(ponged); return errors.New("enough") })
		_, got, err := c.ReadMessage()
		if err != nil || !bytes.Equal(got, unknownMessage) {
			t.Errorf("%s: %q, %v", kind, got, err)
		}
		if err := c.WriteControl(websocket.PingMessage, []byte("x"), time.Now().Add(time.Minute)); err != nil {
			t.Error(err)
		}
		_, _, _ = c.ReadMessage() // ends with the pong
		select {
		case <-ponged:
		default:
			t.Errorf("%s: no pong", kind)
		}
		c.Close()
		s.Close()
	}
}

// A host that is asked whether it is one must not be known by its answer, unless that
// is what it breaks.
func TestTheOtherRequestsAreAnswered(t *testing.T) {
	for _, kind := range Kinds() {
		s, err := Serve("127.0.0.1:0", newHost(t, kind, Options{}))
		if err != nil {
			t.Fatal(err)
		}
		client := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true, MaxResponseHeaderBytes: 1 << 20}}
		if kind.Early() {
			client.Timeout = 50 * time.Millisecond
		}
		ok := false
		if resp, err := client.Get(s.URL + "/xrpc/com.atproto.server.describeServer"); err == nil {
			b, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			ok = err == nil && json.Valid(b)
		}
		if ok == kind.Early() {
			t.Errorf("%s: answered %v", kind, ok)
		}
		s.Close()
	}
}

func TestNobodyIsOfAKindThatThereIsNot(t *testing.T) {
	if _, err := New("kind", Options{}); err == nil {
		t.Error("it was taken")
	}
}

func TestTheDefaultMessageMeansNothing(t *testing.T) {
	ev, err := frame.Parse(unknownMessage)
	if err != nil || ev.Kind != frame.Unknown {
		t.Error(fmt.Sprint(ev), err)
	}
}
