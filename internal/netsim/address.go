package netsim

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"syscall"
)

// Ports that the kernels of this day do not give to outgoing connections: Linux takes
// those from 32,768 on, the others from 49,152.
const (
	firstPort = 10_000
	pastPort  = 32_768
)

// Listen listens on a port of host that no outgoing connection is given, so that who
// stops listening finds the port free when it listens again. With port 0 the kernel
// chooses one that any later dial may take in between.
func Listen(host string) (net.Listener, error) {
	var err error
	for range 1000 {
		port := firstPort + rand.IntN(pastPort-firstPort)
		var l net.Listener
		l, err = new(net.ListenConfig).Listen(context.Background(), "tcp", net.JoinHostPort(host, strconv.Itoa(port)))
		if !errors.Is(err, syscall.EADDRINUSE) {
			return l, err
		}
	}
	return nil, fmt.Errorf("no free port of %s: %w", host, err)
}

// FreeAddr returns an address of the loopback that nobody listens on and that no
// outgoing connection is given.
func FreeAddr() (string, error) {
	l, err := Listen("127.0.0.1")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}
