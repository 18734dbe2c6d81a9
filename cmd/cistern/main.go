// Command cistern is an AT Protocol relay that keeps every drop: it crawls hosts,
// verifies what they send, keeps it in one durable log and serves that log, from
// any cursor, as com.atproto.sync.subscribeRepos.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/urfave/cli/v3"
	_ "golang.org/x/crypto/x509roots/fallback" // an image of nothing but this program has no others

	"github.com/cistern-archive/cistern/internal/config"
	"github.com/cistern-archive/cistern/internal/relay"
)

func main() {
	if err := app().Run(context.Background(), os.Args); err != nil {
		fmt.Fprintln(os.Stderr, "cistern:", err)
		os.Exit(1)
	}
}

func app() *cli.Command {
	var cfg config.Config
	cfg.FindFile(os.Args[1:])
	return &cli.Command{
		Name:  "cistern",
		Usage: "an AT Protocol relay that keeps every drop",
		Flags: cfg.CommonFlags(),
		Commands: []*cli.Command{
			{
				Name: "serve", Usage: "run the relay", Flags: cfg.ServeFlags(),
				Action: func(ctx context.Context, cmd *cli.Command) error {
					if cmd.Args().Present() {
						return fmt.Errorf("serve takes no arguments, only flags: %q", cmd.Args().First())
					}
					return serve(ctx, cfg)
				},
			},
			configCommand(&cfg),
			collectionsCommand(&cfg),
			healthCommand(),
			tailCommand(),
			archiveCommand(),
			{
				Name: "version", Usage: "print the version",
				Action: func(context.Context, *cli.Command) error {
					_, err := fmt.Println("cistern", config.Build())
					return err
				},
			},
		},
	}
}

// serve runs until a signal or until the log can no longer be written.
func serve(ctx context.Context, cfg config.Config) error {
	if err := cfg.Validate(); err != nil {
		return err
	}
	logger, err := cfg.Logger()
	if err != nil {
		return err
	}
	if unknown := cfg.UnknownVariables(os.Environ()); len(unknown) > 0 {
		logger.Warn("there are variables that no flag has", "variables", unknown)
	}
	tuneMemory()
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	if cfg.Demo {
		return demo(ctx, cfg, logger)
	}
	r, err := relay.Start(ctx, cfg, logger)
	if err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		logger.Info("stopping: what was read is made durable first")
	case <-r.Failed():
	}
	stop() // a second signal ends the process at once
	if err := r.Stop(); err != nil {
		return err
	}
	logger.Info("stopped", "tip", r.Log().Tip())
	return nil
}
