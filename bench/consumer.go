package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"
)

const (
	readSize  = 1 << 20 // bytes asked of the socket at once
	maxAnswer = 64 << 10
	// quiet is how long a consumer that has not got everything waits for one more byte.
	quiet = 30 * time.Second
)

// consume connects with cursor=0 and reads until it has counted want events of a log
// that has total.
func consume(ctx context.Context, addr string, want, total int) error {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return fmt.Errorf("consumer: %w", err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	buf := make([]byte, readSize)
	rest, err := upgrade(conn, addr, "?cursor=0", buf)
	if err != nil {
		return fmt.Errorf("consumer: %w", err)
	}
	var c frameCounter
	if err := c.feed(rest); err != nil {
		return err
	}
	for c.events < want {
		if err := conn.SetReadDeadline(time.Now().Add(quiet)); err != nil {
			return fmt.Errorf("consumer: %w", err)
		}
		n, err := conn.Read(buf)
		if err != nil {
			return fmt.Errorf("consumer: %d of %d events, then: %w", c.events, want, errors.Join(err, context.Cause(ctx)))
		}
		if err := c.feed(buf[:n]); err != nil {
			return err
		}
	}
	if c.events > total {
		return fmt.Errorf("consumer: %d events where the log has %d", c.events, total)
	}
	return nil
}

// upgrade does the opening handshake (RFC 6455, section 4.1) of subscribeRepos with a
// query, which may be empty, and returns what came after it.
func upgrade(conn net.Conn, addr, query string, buf []byte) ([]byte, error) {
	if err := conn.SetDeadline(time.Now().Add(quiet)); err != nil {
		return nil, err
	}
	const request = "GET /xrpc/com.atproto.sync.subscribeRepos%s HTTP/1.1\r\nHost: %s\r\nUser-Agent: cistern-bench\r\n" +
		"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: Y2lzdGVybi1iZW5jaC0wMQ==\r\n\r\n"
	if _, err := fmt.Fprintf(conn, request, query, addr); err != nil {
		return nil, err
	}
	n := 0
	for {
		m, err := conn.Read(buf[n:min(len(buf), n+maxAnswer)])
		if err != nil {
			return nil, fmt.Errorf("handshake: %w", err)
		}
		n += m
		head, rest, ok := bytes.Cut(buf[:n], []byte("\r\n\r\n"))
		if !ok {
			if n > maxAnswer {
				return nil, errors.New("handshake: the answer has no end")
			}
			continue
		}
		if status, _, _ := strings.Cut(string(head), "\r\n"); !strings.HasPrefix(status, "HTTP/1.1 101") {
			return nil, fmt.Errorf("handshake: %s", status)
		}
		return rest, conn.SetWriteDeadline(time.Time{})
	}
}
