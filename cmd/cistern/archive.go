package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/urfave/cli/v3"

	"github.com/cistern-archive/cistern/internal/archive"
)

// placesUsage is the argument of every command that reads segments.
const placesUsage = "FILE|DIR|URL|http(s)://relay|s3://bucket/prefix..."

// archiveCommand is what works on sealed segments without a running relay.
func archiveCommand() *cli.Command {
	return &cli.Command{
		Name: "archive", Usage: "list, read, verify and prove sealed segments: files, directories, http(s) URLs, archives of relays and in buckets",
		Commands: []*cli.Command{
			archiveVerifyCommand(), archiveProveCommand(), archiveCheckProofCommand(),
			archiveListCommand(), archiveInspectCommand(), archiveCatCommand(), archivePullCommand(), archiveReseedCommand(),
		},
	}
}

// findSegments makes a source of a command's arguments from the one at skip on.
func findSegments(ctx context.Context, cmd *cli.Command, skip int) (*archive.Source, error) {
	return archive.Find(ctx, archiveClient(), cmd.Args().Slice()[min(skip, cmd.NArg()):])
}

// archiveClient has no deadline of its own: package archive bounds each request.
func archiveClient() *http.Client {
	t := &http.Transport{Proxy: http.ProxyFromEnvironment, MaxIdleConnsPerHost: 64, IdleConnTimeout: 30 * time.Second, ForceAttemptHTTP2: true}
	return &http.Client{Transport: t}
}

// untilInterrupted is a context that ends with the first signal.
func untilInterrupted(ctx context.Context) (context.Context, context.CancelFunc) {
	return signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
}

// reader is stdin for "-", else a file.
func reader(name string) (io.ReadCloser, error) {
	if name == "-" {
		return io.NopCloser(os.Stdin), nil
	}
	return os.Open(name)
}

// readBounded reads a small file, or stdin for "-".
func readBounded(name string, most int64) ([]byte, error) {
	r, err := reader(name)
	if err != nil {
		return nil, err
	}
	defer r.Close() // opened for reading
	b, err := io.ReadAll(io.LimitReader(r, most+1))
	if err == nil && int64(len(b)) > most {
		err = fmt.Errorf("%s is larger than %d bytes", name, most)
	}
	return b, err
}

// closedPipe makes a reader that had enough, such as head, no error.
func closedPipe(err error) error {
	if errors.Is(err, syscall.EPIPE) {
		return nil
	}
	return err
}
