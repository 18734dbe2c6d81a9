package bucket

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"time"
)

// newTransport returns connections that end when they move no byte for o.Stall.
func newTransport(o *S3Options) (*http.Transport, error) {
	t := &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           staller{o.Stall}.dial,
		MaxIdleConnsPerHost:   32,
		IdleConnTimeout:       30 * time.Second,
		TLSHandshakeTimeout:   10 * time.Second,
		ResponseHeaderTimeout: o.Stall,
		ExpectContinueTimeout: 10 * time.Second,
		DisableCompression:    true, // what is stored is what is read
	}
	if o.CAFile == "" {
		return t, nil
	}
	pem, err := os.ReadFile(o.CAFile)
	if err != nil {
		return nil, fmt.Errorf("certificate authority: %w", err)
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("certificate authority: %s holds no certificate in PEM", o.CAFile)
	}
	t.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	return t, nil
}

// staller dials connections on which a byte must move in time, one way or the other.
type staller struct{ after time.Duration }

func (s staller) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	d := net.Dialer{Timeout: 10 * time.Second}
	c, err := d.DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	return &stalling{Conn: c, after: s.after, dialled: time.Now()}, nil
}

// stalling is such a connection. HTTP waits for the answer while it still sends the body:
// a read that brings nothing is no stall as long as writes move.
type stalling struct {
	net.Conn
	after   time.Duration
	dialled time.Time
	wrote   atomic.Int64 // when the last write moved: time since dialled
}

func (s *stalling) Read(p []byte) (int, error) {
	from := time.Since(s.dialled)
	for {
		if err := s.SetReadDeadline(s.dialled.Add(from + s.after)); err != nil {
			return 0, err
		}
		n, err := s.Conn.Read(p)
		wrote := time.Duration(s.wrote.Load())
		if n > 0 || !errors.Is(err, os.ErrDeadlineExceeded) || wrote <= from {
			return n, err
		}
		from = wrote
	}
}

func (s *stalling) Write(p []byte) (n int, err error) {
	const piece = 64 << 10 // a large write may take longer and yet move
	for n < len(p) && err == nil {
		if err := s.SetWriteDeadline(time.Now().Add(s.after)); err != nil {
			return n, err
		}
		var m int
		m, err = s.Conn.Write(p[n:min(len(p), n+piece)])
		n += m
		if m > 0 {
			s.wrote.Store(int64(time.Since(s.dialled)))
		}
	}
	return n, err
}
