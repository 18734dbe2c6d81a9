package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/cistern-archive/cistern/internal/netsim"
)

// The reference relay takes a host with a port only when it is called localhost.
const (
	loopback = "127.0.0.1:"
	named    = "localhost:"
)

// serveUpstream is the upstream process: it serves a file of frames until its standard
// input ends.
func serveUpstream(ctx context.Context, args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("upstream takes one file of frames")
	}
	info, err := os.Stat(args[0])
	if err != nil {
		return err
	}
	logger := slog.New(slog.NewTextHandler(os.Stderr, nil))
	network, err := netsim.Load(args[0], netsim.Options{Logger: logger})
	if err != nil {
		return err
	}
	defer network.Close()
	plc, err := servePLC(network.PLCURL())
	if err != nil {
		return err
	}
	a := announcement{PLC: plc, Events: network.Len(), Bytes: info.Size()}
	for _, h := range network.Hosts() {
		a.Hosts = append(a.Hosts, strings.Replace(h.Name, loopback, named, 1))
	}
	if err := json.NewEncoder(os.Stdout).Encode(a); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	commands := make(chan string)
	go func() { // ends with the process
		defer cancel()
		for sc := bufio.NewScanner(os.Stdin); sc.Scan(); {
			commands <- sc.Text()
		}
	}()
	if err := waitSubscribed(ctx, network); err != nil {
		return err
	}
	fmt.Println(lineSubscribed)
	for {
		select {
		case c := <-commands:
			if c != linePublish {
				return fmt.Errorf("unknown command %q", c)
			}
			if err := network.Run(ctx, 0); err != nil {
				return err
			}
		case <-ctx.Done():
			return nil
		}
	}
}

// hostPatience is how long the hosts wait for subscribers.
const hostPatience = 5 * time.Minute

// waitSubscribed waits until each host has a subscriber.
func waitSubscribed(ctx context.Context, n *netsim.Network) error {
	ctx, cancel := context.WithTimeout(ctx, hostPatience)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for _, h := range n.Hosts() {
		for h.Subscribers() == 0 {
			select {
			case <-tick.C:
			case <-ctx.Done():
				return fmt.Errorf("host %s: no subscriber: %w", h.Name, ctx.Err())
			}
		}
	}
	return nil
}

// servePLC serves the network's directory with hosts by the name that relays know.
func servePLC(origin string) (string, error) {
	l, err := net.Listen("tcp", loopback+"0") //nolint:noctx // at once
	if err != nil {
		return "", err
	}
	s := &http.Server{ReadHeaderTimeout: 30 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		req, err := http.NewRequestWithContext(r.Context(), http.MethodGet, origin+r.URL.Path, nil)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		w.Header().Set("Content-Type", resp.Header.Get("Content-Type"))
		w.WriteHeader(resp.StatusCode)
		_, _ = w.Write(bytes.ReplaceAll(body, []byte("//"+loopback), []byte("//"+named))) // the client has gone
	})}
	go func() { _ = s.Serve(l) }() // until the process ends
	return "http://" + l.Addr().String(), nil
}
