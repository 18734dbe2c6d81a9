package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/cistern-archive/cistern/internal/config"
	"github.com/cistern-archive/cistern/internal/netsim"
	"github.com/cistern-archive/cistern/internal/relay"
)

// The size of the demo's network.
const (
	demoHosts    = 8
	demoAccounts = 50  // a host
	demoRate     = 200 // events/s, all hosts together
	// demoPassword is that of the operator's page, unless another is given.
	demoPassword = "demo"
)

// demo runs a relay over a simulated network in this process, with the log in a
// temporary folder, and prints a line a second of what flows.
func demo(ctx context.Context, cfg config.Config, logger *slog.Logger) error {
	dir, err := os.MkdirTemp("", "cistern-demo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	network, err := netsim.New(netsim.Options{
		Seed: 1, Hosts: demoHosts, Accounts: demoAccounts, WallClock: true, SpoolDir: dir, LieRate: 0.01, DialectRate: 0.05,
	})
	if err != nil {
		return fmt.Errorf("simulated network: %w", err)
	}
	defer network.Close()
	cfg.DataDir, cfg.PLCHosts, cfg.Hosts = dir, []string{network.PLCURL()}, network.HostURLs()
	cfg.Identity.PLCRate = 0 // the directory is in this process
	if len(cfg.AdminPasswords) == 0 {
		cfg.AdminPasswords = []string{demoPassword}
	}
	r, err := relay.Start(ctx, cfg, logger)
	if err != nil {
		return err
	}
	addr := reachable(r.Addr())
	fmt.Printf(`
A simulated network of %d hosts and %d accounts flows through this relay
(one event in a hundred is a lie, to be dropped).
  log     %s, removed at the end
  stream  ws://%s/xrpc/com.atproto.sync.subscribeRepos
  pages   http://%s/ and, for the operator (user admin, password %s), http://%s/admin/
  try     go run ./cmd/cistern tail --cursor 0 ws://%s
  stop    Ctrl-C

`, demoHosts, demoHosts*demoAccounts, dir, addr, addr, cfg.AdminPasswords[0], addr, addr)

	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return endless(network.Run(ctx, demoRate)) })
	group.Go(func() error { return endless(report(ctx, network, r)) })
	group.Go(func() error {
		select {
		case <-ctx.Done():
			return nil
		case <-r.Failed():
			return fmt.Errorf("the log failed")
		}
	})
	err = group.Wait()
	if serr := r.Stop(); serr != nil {
		return serr
	}
	return err
}

// endless turns the end of the context into no error.
func endless(err error) error {
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

func report(ctx context.Context, network *netsim.Network, r *relay.Relay) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	last := r.Log().Tip()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		connected := 0
		for _, h := range r.Hosts() {
			if h.Connected {
				connected++
			}
		}
		tip := r.Log().Tip()
		fmt.Printf("%s  %d/%d hosts  sent %d  logged %d (+%d/s)  consumers %d\n", time.Now().Format(time.TimeOnly),
			connected, demoHosts, network.Len(), tip, tip-last, len(r.Consumers()))
		last = tip
	}
}
