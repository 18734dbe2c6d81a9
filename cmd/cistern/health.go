package main

import (
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
	url := "http://127.0.0.1:2470"
	if host, port, err := net.SplitHostPort(os.Getenv("CISTERN_BIND")); err == nil {
		if host == "" || host == "0.0.0.0" || host == "::" {
			host = "127.0.0.1"
		}
		url = "http://" + net.JoinHostPort(host, port)
	}
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
