package rogue

import (
	"context"
	"net"
	"sync"
)

// Server plays a Host to whoever connects.
type Server struct {
	*Host
	URL string // http://host:port

	l     net.Listener
	plays sync.WaitGroup

	mu     sync.Mutex
	conns  map[net.Conn]struct{}
	closed bool
}

// Serve plays the host on a TCP address, such as 127.0.0.1:0, until Close.
func Serve(addr string, h *Host) (*Server, error) {
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", addr)
	if err != nil {
		return nil, err
	}
	s := &Server{Host: h, URL: "http://" + l.Addr().String(), l: l, conns: make(map[net.Conn]struct{})}
	s.plays.Go(s.accept)
	return s, nil
}

func (s *Server) accept() {
	for {
		c, err := s.l.Accept()
		if err != nil {
			return // closed
		}
		s.mu.Lock()
		if s.closed {
			s.mu.Unlock()
			c.Close()
			return
		}
		s.conns[c] = struct{}{}
		s.plays.Go(func() {
			s.Play(c)
			s.mu.Lock()
			defer s.mu.Unlock()
			delete(s.conns, c)
		})
		s.mu.Unlock()
	}
}

// Close ends the listener and all connections, and waits until they have ended.
func (s *Server) Close() {
	s.l.Close()
	s.mu.Lock()
	s.closed = true
	for c := range s.conns {
		c.Close()
	}
	s.mu.Unlock()
	s.plays.Wait()
}
