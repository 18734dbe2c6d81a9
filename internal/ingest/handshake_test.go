package ingest

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/gorilla/websocket"

	"github.com/cistern-archive/cistern/internal/identity"
)

func TestOnlyAnOperatorMayNameARelay(t *testing.T) {
	for _, h := range []http.Header{
		{"Server": {"indigo/1 (atproto-relay)"}}, {"Via": {"1.1 cache", "1.1 x (ATProto-Relay)"}},
	} {
		s := newStage(t, func(_ int, c *websocket.Conn) { drain(c) })
		s.header = h
		d := dialer{opts: DialOptions{DialPublic: new(net.Dialer).DialContext}}
		d.opts.ensureDefaults()
		if _, err := d.connect(context.Background(), &address{name: s.name()}, 0); !errors.Is(err, ErrRelay) {
			t.Errorf("%v: %v, want ErrRelay", h, err)
		}
		up, err := d.connect(context.Background(), &address{name: s.name(), trusted: true}, 0)
		if err != nil {
			t.Fatal(err)
		}
		_ = up.finish(ErrStopped)
	}
	if isRelay(http.Header{"Server": {"atproto-pds"}, "X-Via": {"atproto-relay"}}) {
		t.Error("anything looser counts as a relay")
	}
}

func TestAStrangersHostIsNotDialledOnAPrivateAddress(t *testing.T) {
	s := newStage(t, func(_ int, c *websocket.Conn) { drain(c) })
	d := dialer{}
	d.opts.ensureDefaults()
	if _, err := d.connect(context.Background(), &address{name: s.name()}, 0); !errors.Is(err, identity.ErrNotPublic) {
		t.Errorf("%v, want ErrNotPublic", err)
	}
	if s.connections() != 0 {
		t.Error("it was reached")
	}
}

func TestAHandshakeWithoutEndIsCutShort(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		line := "HTTP/1.1 101 Switching Protocols\r\n"
		for err == nil {
			_, err = io.WriteString(c, line)
			line = "X-Long: " + strings.Repeat("x", 1000) + "\r\n"
		}
	}()
	d := dialer{}
	d.opts.ensureDefaults()
	_, err = d.connect(context.Background(), &address{name: l.Addr().String(), trusted: true}, 0)
	<-done
	if !errors.Is(err, errHandshake) {
		t.Errorf("%v, want errHandshake", err)
	}
}

func TestAHandshakeThatComesByteByByteIsUnderstood(t *testing.T) {
	s := newStage(t, func(_ int, c *websocket.Conn) {
		send(c, accountFrame(1))
		drain(c)
	})
	r := newRig(t, "http://127.0.0.1:1", &memLog{}, func(o *Options) {
		o.Resolver = believer{s.name()}
		o.Dial.DialTrusted = func(ctx context.Context, network, addr string) (net.Conn, error) {
			c, err := new(net.Dialer).DialContext(ctx, network, addr)
			return tinyReads{c}, err
		}
	})
	r.addHosts(s.URL)
	r.hasSeqs(1)
}

// tinyReads hands out one byte at a time.
type tinyReads struct{ net.Conn }

func (c tinyReads) Read(p []byte) (int, error) { return c.Conn.Read(p[:min(1, len(p))]) }
