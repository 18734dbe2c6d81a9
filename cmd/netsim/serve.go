package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/cistern-archive/cistern/internal/netsim"
	"github.com/urfave/cli/v3"
)

func serveFlags() []cli.Flag {
	return append(networkFlags(),
		&cli.StringFlag{Name: "from", Usage: "serve this file of generated events instead of making them"},
		&cli.FloatFlag{Name: "rate", Value: 500, Usage: "events a second over all hosts; 0: as fast as it can"},
		&cli.FloatFlag{Name: "dialect-rate", Usage: "share of commits in a random dialect"},
		&cli.FloatFlag{Name: "lie-rate", Usage: "share of events that are lies"},
		&cli.StringFlag{Name: "plc-listen", Value: "127.0.0.1:0", Usage: "address of the PLC directory"},
		&cli.StringSliceFlag{Name: "listen", Value: []string{"127.0.0.1"}, Usage: "IP addresses that hosts listen on, in turn"},
		&cli.IntFlag{Name: "base-port", Usage: "port of the first host, counting up; 0: any free ones"},
		&cli.StringFlag{Name: "control", Usage: "address of the control endpoint (GET /ledger, POST /host/0/lie?name=…)"},
		&cli.StringFlag{Name: "ledger", Usage: "write the ledger to this file at the end, as JSON Lines"},
		&cli.BoolFlag{Name: "virtual-time", Usage: "take the time of events from the seed, not from the clock: same frames in each run"},
	)
}

func serve(ctx context.Context, c *cli.Command) (err error) {
	n, err := open(c)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, n.Close()) }()
	stop, err := control(ctx, c.String("control"), n)
	if err != nil {
		return err
	}
	defer stop()
	printFlags(c.Root().Writer, n)
	if err := n.Run(ctx, c.Float("rate")); err != nil {
		return err
	}
	<-ctx.Done() // a loaded network is published sooner
	return writeLedger(c.String("ledger"), n)
}

func open(c *cli.Command) (*netsim.Network, error) {
	o := options(c)
	o.PLCListen, o.Listen, o.BasePort = c.String("plc-listen"), c.StringSlice("listen"), c.Int("base-port")
	o.DialectRate, o.LieRate = c.Float("dialect-rate"), c.Float("lie-rate")
	o.WallClock = !c.Bool("virtual-time")
	o.Logger = slog.New(slog.NewTextHandler(c.Root().ErrWriter, nil))
	if from := c.String("from"); from != "" {
		return netsim.Load(from, o)
	}
	return netsim.New(o)
}

// printFlags prints the command line that points cistern at the network.
func printFlags(w io.Writer, n *netsim.Network) {
	flags := []string{"--plc-host " + n.PLCURL()}
	for _, u := range n.HostURLs() {
		flags = append(flags, "--host "+u)
	}
	fmt.Fprintln(w, strings.Join(flags, " "))
}

// control serves the control endpoint; the function that it returns ends it.
func control(ctx context.Context, addr string, n *netsim.Network) (func(), error) {
	if addr == "" {
		return func() {}, nil
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("control endpoint: %w", err)
	}
	server := &http.Server{Handler: n.ControlHandler(), ReadHeaderTimeout: 10 * time.Second}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			slog.Error("control endpoint stopped", "err", err)
		}
	}()
	return func() {
		_ = server.Close() // the process ends
		<-done
	}, nil
}

func writeLedger(path string, n *netsim.Network) (err error) {
	if path == "" {
		return nil
	}
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("ledger: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return netsim.WriteLedger(f, n.Ledger())
}
