package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/urfave/cli/v3"

	"github.com/cistern-archive/cistern/internal/config"
)

// configCommand says what `serve` would be told.
func configCommand(cfg *config.Config) *cli.Command {
	return &cli.Command{
		Name: "config", Usage: "look at the settings: flags, environment and file",
		Commands: []*cli.Command{{
			Name: "check", Usage: "say whether serve would take them, and print them, without secrets",
			Flags: cfg.ServeFlags(),
			Action: func(_ context.Context, cmd *cli.Command) error {
				if err := cfg.Validate(); err != nil {
					return err
				}
				if unknown := cfg.UnknownVariables(os.Environ()); len(unknown) > 0 {
					return fmt.Errorf("no flag has the variable %s", strings.Join(unknown, ", "))
				}
				return printSettings(cmd.Root().Writer, cmd)
			},
		}},
	}
}

// secret flags are not printed.
var secret = map[string]bool{"admin-password": true}

// printSettings prints every flag that has a value, and whether somebody set it.
func printSettings(to io.Writer, cmd *cli.Command) error {
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	var errs []error
	for _, f := range append(cmd.Root().Flags, cmd.Flags...) {
		name := f.Names()[0]
		value := fmt.Sprint(cmd.Value(name))
		if name == "help" || value == "" || value == "[]" {
			continue
		}
		if secret[name] {
			value = "(set)"
		}
		from := "default"
		if f.IsSet() {
			from = "set"
		}
		_, err := fmt.Fprintf(w, "%s\t%s\t%s\n", name, value, from)
		errs = append(errs, err)
	}
	return errors.Join(append(errs, w.Flush())...)
}
