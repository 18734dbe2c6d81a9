package config

import (
	"fmt"
	"net/url"
	"path/filepath"
	"time"

	"github.com/urfave/cli/v3"
)

// Archive says where the archive is and who may write it.
type Archive struct {
	URL        string // "" for the folder archive of the data directory
	NewStream  bool
	TakeOver   bool
	ShipRate   string // as given; Validate parses it
	ShipBytes  int64  // bytes a second, 0 for no limit
	Downloads  string // "on" or "off"
	DiskBudget string // as given
	DiskBytes  int64  // what the data directory and a folder archive may take
	ReadRate   string // as given
	ReadBytes  int64  // bytes a second from the archive for all who read, 0 for no limit
	CacheSize  string // as given
	CacheBytes int64  // disk for parts of segments that were read from the archive
	// Retention is how long the log is kept, 0 for ever.
	Retention time.Duration
	// CheckpointEvery is how often derived state is copied to the archive, 0 for never.
	CheckpointEvery time.Duration
	// Watch is how long a lease must not be renewed before it is taken over, 0 for the
	// 20 s of the format. It has no flag: a shorter one is for tests.
	Watch time.Duration
}

// archiveFolder is the archive in the data directory where none is named.
const archiveFolder = "archive"

func (a *Archive) flags(f *file) []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{
			Name: "archive", Sources: f.sourcesOf("archive"), Destination: &a.URL,
			Usage: "where sealed segments go: file:///folder or s3://bucket/prefix?endpoint=…&region=…; default: the folder archive of the data directory",
		},
		&cli.BoolFlag{
			Name: "new-stream", Usage: "begin a stream in an archive that has none", Sources: f.sourcesOf("new-stream"), Destination: &a.NewStream,
		},
		&cli.BoolFlag{
			Name: "take-over", Usage: "take the archive's log over from a holder that does not renew its lease", Sources: f.sourcesOf("take-over"), Destination: &a.TakeOver,
		},
		&cli.StringFlag{
			Name: "ship-rate-limit", Usage: "bytes a second to the archive, such as 20MiB; 0 for no limit", Value: "0",
			Sources: f.sourcesOf("ship-rate-limit"), Destination: &a.ShipRate,
		},
		&cli.DurationFlag{
			Name: "retention", Usage: "remove events from the log and the archive this long after they were witnessed, such as 720h; 0 keeps them for ever",
			Sources: f.sourcesOf("retention"), Destination: &a.Retention,
		},
		&cli.DurationFlag{
			Name: "checkpoint-every", Usage: "copy derived state to the archive this often, so that a lost disk is restored without reading the whole log; 0 for never", Value: 24 * time.Hour,
			Sources: f.sourcesOf("checkpoint-every"), Destination: &a.CheckpointEvery,
		},
		&cli.StringFlag{
			Name: "downloads", Usage: "on or off: serve the archive's files at /archive/", Value: "on", Sources: f.sourcesOf("downloads"), Destination: &a.Downloads,
		},
		&cli.StringFlag{
			Name: "disk-budget", Usage: "disk for the data directory and an archive that is a folder: the oldest segments that a bucket holds leave first", Value: "50GiB",
			Sources: f.sourcesOf("disk-budget"), Destination: &a.DiskBudget,
		},
		&cli.StringFlag{
			Name: "archive-read-limit", Usage: "bytes a second from a bucket, for all consumers and downloads together; 0 for no limit", Value: "0",
			Sources: f.sourcesOf("archive-read-limit"), Destination: &a.ReadRate,
		},
		&cli.StringFlag{
			Name: "archive-cache", Usage: "disk for what was read from a bucket", Value: "2GiB",
			Sources: f.sourcesOf("archive-cache"), Destination: &a.CacheSize,
		},
	}
}

// Embed names the archive of the data directory where none is named. That one is the
// data directory's own, so a stream may be begun in it.
func (a *Archive) Embed(dataDir string) error {
	if a.URL != "" {
		return nil
	}
	dir, err := filepath.Abs(filepath.Join(dataDir, archiveFolder))
	if err != nil {
		return fmt.Errorf("--data-dir: %w", err)
	}
	u := url.URL{Scheme: "file", Path: dir}
	a.URL, a.NewStream = u.String(), true
	return nil
}

func (a *Archive) validate() error {
	if a.Retention != 0 && a.Retention < time.Hour {
		return fmt.Errorf("--retention %s is below an hour", a.Retention)
	}
	if a.CheckpointEvery != 0 && a.CheckpointEvery < time.Minute {
		return fmt.Errorf("--checkpoint-every %s is below a minute", a.CheckpointEvery)
	}
	if a.Downloads != "on" && a.Downloads != "off" {
		return fmt.Errorf("--downloads %q is neither on nor off", a.Downloads)
	}
	return readSizes(
		size{flag: "disk-budget", given: a.DiskBudget, least: "1GiB", to: &a.DiskBytes}, // a hot file, its segment and the index
		size{flag: "archive-read-limit", given: a.ReadRate, to: &a.ReadBytes, least: "0"},
		size{flag: "archive-cache", given: a.CacheSize, least: "64MiB", to: &a.CacheBytes},               // what a few consumers read at once
		size{flag: "ship-rate-limit", given: a.ShipRate, least: "64KiB", orZero: true, to: &a.ShipBytes}, // with less it would fall behind for ever
	)
}
