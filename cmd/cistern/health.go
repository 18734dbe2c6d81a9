package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/urfave/cli/v3"
)

// healthCommand asks a running relay how it is; for containers, which have nothing else to ask
// with.
func healthCommand() *cli.Command {
	url := "http://" + reachable(cmp.Or(os.Getenv("CISTERN_BIND"), ":2470"))
	return &cli.Command{
		Name: "health", Usage: "ask a running relay whether it is healthy; exit code 1 when not",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "url", Usage: "the relay's public listener", Value: url, Destination: &url},
		},
		Action: func(ctx context.Context, _ *cli.Command) error {
			ctx, cancel := context.WithTimeout(ctx, 4*time.Second)
			defer cancel()
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/_healthz", nil)
			if err != nil {
				return err
			}
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				return err
			}
			defer resp.Body.Close()
			var body struct{ Status, Message string }
			if err := json.NewDecoder(resp.Body).Decode(&body); err != nil {
				return fmt.Errorf("%s: %s: %w", url, resp.Status, err)
			}
			if resp.StatusCode != http.StatusOK {
				return fmt.Errorf("%s: %s", body.Status, body.Message)
			}
			fmt.Println(body.Status)
			return nil
		},
	}
}

// reachable is an address that a program listens on as a client on this machine names it.
func reachable(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return addr
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port)
}
