package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/urfave/cli/v3"

	"github.com/cistern-archive/cistern/internal/collections"
	"github.com/cistern-archive/cistern/internal/config"
)

// collectionsCommand is what fills in which account has records of which collection.
func collectionsCommand(cfg *config.Config) *cli.Command {
	b := collections.Backfill{Client: &http.Client{Timeout: time.Minute}}
	return &cli.Command{
		Name: "collections", Usage: "what listReposByCollection answers from",
		Commands: []*cli.Command{{
			Name: "backfill", Usage: "import from another relay what predates the log; run it again to go on after an interruption",
			Flags: []cli.Flag{
				&cli.StringFlag{Name: "from", Usage: "base URL of a relay or collection directory that answers listReposByCollection", Required: true, Destination: &b.From},
				&cli.StringFlag{Name: "to", Usage: "base URL of the relay that is told, which must have an admin password", Value: "http://127.0.0.1:2470", Destination: &b.To},
				&cli.StringSliceFlag{Name: "collection", Usage: "`NSID` to import; repeatable; default: all that the relay knows", Destination: &b.Collections},
				&cli.StringFlag{Name: "state", Usage: "`FILE` that remembers how far this came", Value: "collections-backfill.json", Destination: &b.State},
			},
			Action: func(ctx context.Context, _ *cli.Command) error {
				if len(cfg.AdminPasswords) == 0 {
					return errors.New("collections backfill: --admin-password of the relay is needed")
				}
				b.Password = cfg.AdminPasswords[0]
				b.From, b.To = strings.TrimRight(b.From, "/"), strings.TrimRight(b.To, "/")
				shown := time.Now()
				b.Progress = func(collection string, repos int) {
					if now := time.Now(); now.Sub(shown) > lineEvery {
						shown = now
						fmt.Fprintf(os.Stderr, "%s: %d accounts so far\n", collection, repos)
					}
				}
				ctx, stop := untilInterrupted(ctx)
				defer stop()
				repos, n, err := b.Run(ctx)
				if err != nil {
					return fmt.Errorf("collections backfill: %w; run it again to go on", err)
				}
				fmt.Printf("%d collections, %d entries\n", n, repos)
				return nil
			},
		}},
	}
}
