package main

import (
	"context"
	"fmt"
	"net/url"
	"strings"

	"github.com/gorilla/websocket"
	"github.com/urfave/cli/v3"

	"github.com/cistern-archive/cistern/internal/config"
	"github.com/cistern-archive/cistern/internal/frame"
)

// tailCommand prints a relay's event stream, a line an event.
func tailCommand() *cli.Command {
	var cursor string
	return &cli.Command{
		Name: "tail", Usage: "print the events of a relay, a line each", ArgsUsage: "ws://HOST",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "cursor", Usage: "begin after this seq; 0 is the oldest, none is live", Destination: &cursor},
		},
		Action: func(ctx context.Context, cmd *cli.Command) error {
			if cmd.NArg() != 1 {
				return fmt.Errorf("tail takes one URL, such as ws://localhost:2470")
			}
			return tail(ctx, cmd.Args().First(), cursor)
		},
	}
}

func tail(ctx context.Context, base, cursor string) error {
	u, err := url.Parse(base)
	if err != nil {
		return err
	}
	u.Scheme = strings.Replace(u.Scheme, "http", "ws", 1)
	if u.Path == "" || u.Path == "/" {
		u.Path = "/xrpc/com.atproto.sync.subscribeRepos"
	}
	if cursor != "" {
		u.RawQuery = url.Values{"cursor": {cursor}}.Encode()
	}
	conn, resp, err := websocket.DefaultDialer.DialContext(ctx, u.String(), map[string][]string{"User-Agent": {config.ServerName()}})
	if resp != nil {
		defer resp.Body.Close() // the library has read what it needs of it
	}
	if err != nil {
		if resp != nil {
			return fmt.Errorf("%s: %s", u, resp.Status)
		}
		return err
	}
	defer conn.Close()
	for {
		_, raw, err := conn.ReadMessage()
		if err != nil {
			return err
		}
		ev, err := frame.Parse(raw)
		if err != nil {
			return fmt.Errorf("a frame that cannot be read: %w", err)
		}
		if err := printEvent(ev); err != nil {
			return err
		}
	}
}

func printEvent(ev *frame.Event) error {
	var detail string
	switch ev.Kind {
	case frame.Commit:
		for _, op := range ev.Ops {
			detail += " " + op.Action + " " + op.Path
		}
		detail = ev.Rev + detail
	case frame.Sync:
		detail = ev.Rev
	case frame.Identity:
		detail = ev.Handle
	case frame.Account:
		detail = fmt.Sprintf("active=%t %s", ev.Active, ev.Status)
	default:
		detail = ev.Name + " " + ev.Message
	}
	_, err := fmt.Println(ev.Seq, ev.Time, ev.Type, ev.DID, detail)
	return err
}
