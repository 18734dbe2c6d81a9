package config

import (
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"slices"
	"time"

	"github.com/urfave/cli/v3"
)

// Config is everything that `cistern serve` needs to know.
type Config struct {
	DataDir        string
	Bind           string // address of the public listener
	MetricsListen  string // address of the metrics listener, "" for none
	PLCHosts       []string
	Identity       Identity
	Hosts          []string // hosts of the operator's own word, as URLs
	PullHostsFrom  string   // base URL of a relay whose listHosts to take, "" for none
	Crawl          Crawl
	Upstream       Upstream
	Archive        Archive
	Replay         Replay
	InitialSeq     uint64
	SegmentSize    string        // as given; Validate parses it
	SegmentBytes   int64         // a hot file of this size, raw, is sealed
	SegmentAge     time.Duration // or of this age
	AdminPasswords []string
	LedgerDays     int    // how long hours of the ledger are kept, 0 for ever
	QuarantineSize string // as given; Validate parses it
	Quarantine     int64  // bytes of dropped frames that are kept, below 0 for none
	Verify         string // VerifyStrict, VerifyLenient or VerifyOff
	LogLevel       string
	LogFormat      string
	Demo           bool

	file file
}

// How much is verified of what hosts send; VerifyOff is for relays alone.
const (
	VerifyStrict  = "strict"
	VerifyLenient = "lenient"
	VerifyOff     = "off"
)

// CommonFlags are the flags that may stand before or after the command.
func (c *Config) CommonFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{
			Name: "config", Usage: "file of settings: TOML, name = value, with the names of these flags", TakesFile: true,
			Sources: cli.EnvVars(variable("config")), // FindFile has read it by now
		},
		&cli.StringSliceFlag{
			Name: "admin-password", Usage: "password of the admin API, user admin; repeatable; without one the admin API is off",
			Sources: c.file.sourcesOf("admin-password", "RELAY_ADMIN_PASSWORD", "RELAY_ADMIN_KEY"), Destination: &c.AdminPasswords,
		},
		&cli.StringSliceFlag{
			Name: "plc-host", Usage: "URL of a PLC directory; repeatable, asked in order", Value: []string{"https://plc.directory"},
			Sources: c.file.sourcesOf("plc-host", "RELAY_PLC_HOST", "ATP_PLC_HOST"), Destination: &c.PLCHosts,
		},
		&cli.StringFlag{
			Name: "log-level", Usage: "error, warn, info or debug", Value: "info",
			Sources: c.file.sourcesOf("log-level", "RELAY_LOG_LEVEL", "GO_LOG_LEVEL", "LOG_LEVEL"), Destination: &c.LogLevel,
		},
		&cli.StringFlag{
			Name: "log-format", Usage: "text or json", Value: "text", Sources: c.file.sourcesOf("log-format"), Destination: &c.LogFormat,
		},
	}
}

// ServeFlags are the flags of the command serve.
func (c *Config) ServeFlags() []cli.Flag {
	flags := slices.Concat(c.Identity.flags(&c.file), c.crawlFlags(), c.Upstream.flags(&c.file), c.Archive.flags(&c.file), c.Replay.flags(&c.file))
	return append(flags, []cli.Flag{
		&cli.StringFlag{
			Name: "data-dir", Usage: "folder of the log", Value: "./data", Sources: c.file.sourcesOf("data-dir"), Destination: &c.DataDir,
		},
		&cli.StringFlag{
			Name: "bind", Usage: "address of the public listener: XRPC and the event stream", Value: ":2470",
			Sources: c.file.sourcesOf("bind", "RELAY_API_BIND", "RELAY_API_LISTEN"), Destination: &c.Bind,
		},
		&cli.StringFlag{
			Name: "metrics-listen", Usage: "address of the metrics listener, empty for none", Value: ":2471",
			Sources: c.file.sourcesOf("metrics-listen", "RELAY_METRICS_LISTEN"), Destination: &c.MetricsListen,
		},
		&cli.Uint64Flag{
			Name: "initial-seq-number", Usage: "the next seq is at least this (to go on above another relay's)", Value: 1,
			Sources: c.file.sourcesOf("initial-seq-number", "RELAY_INITIAL_SEQ_NUMBER"), Destination: &c.InitialSeq,
		},
		&cli.StringFlag{
			Name: "segment-size", Usage: "seal a hot file at this size, before compression", Value: "256MiB",
			Sources: c.file.sourcesOf("segment-size"), Destination: &c.SegmentSize,
		},
		&cli.DurationFlag{
			Name: "segment-age", Usage: "seal a hot file at this age", Value: 5 * time.Minute,
			Sources: c.file.sourcesOf("segment-age"), Destination: &c.SegmentAge,
		},
		&cli.IntFlag{
			Name: "ledger-days", Usage: "keep the hours of the ledger this long; 0 for ever", Value: 90,
			Sources: c.file.sourcesOf("ledger-days"), Destination: &c.LedgerDays,
		},
		&cli.StringFlag{
			Name: "quarantine-size", Usage: "memory for dropped frames that are kept to look at; 0 for none", Value: "32MiB",
			Sources: c.file.sourcesOf("quarantine-size"), Destination: &c.QuarantineSize,
		},
		&cli.StringFlag{
			Name: "verify", Usage: "strict; lenient: what breaks a rule that docs/verification.md marks with (L) passes, flagged; off: an upstream relay's word is enough", Value: VerifyStrict,
			Sources: c.file.sourcesOf("verify"), Destination: &c.Verify,
		},
		&cli.BoolFlag{
			Name: "demo", Usage: "crawl a simulated network in this process, with a temporary data directory", Destination: &c.Demo,
		},
	}...)
}

// Bounds of a segment: smaller ones are all metadata, and a larger one does not
// fit in one PUT of a bucket.
const (
	minSegment    = 1 << 20
	maxSegment    = 1 << 30
	minSegmentAge = time.Second
)

// maxInitialSeq leaves room to write for ever above it.
const maxInitialSeq = 1 << 52

// Validate says what is wrong with the configuration, in words that name the flag.
func (c *Config) Validate() error {
	if err := c.file.check(); err != nil {
		return err
	}
	for _, l := range []struct{ flag, addr string }{{"bind", c.Bind}, {"metrics-listen", c.MetricsListen}} {
		if l.addr == "" && l.flag != "bind" {
			continue
		}
		if _, _, err := net.SplitHostPort(l.addr); err != nil {
			return fmt.Errorf("--%s %q is not an address such as :2470: %w", l.flag, l.addr, err)
		}
	}
	for flag, urls := range map[string][]string{"plc-host": c.PLCHosts, "host": c.Hosts, "pull-hosts-from": {c.PullHostsFrom}, "upstream-relay": c.Upstream.Relays} {
		for _, s := range urls {
			if err := checkURL(s); err != nil && s != "" {
				return fmt.Errorf("--%s %q: %w", flag, s, err)
			}
		}
	}
	if err := c.Crawl.validate(); err != nil {
		return err
	}
	if c.InitialSeq > maxInitialSeq {
		return fmt.Errorf("--initial-seq-number %d is above %d: too few numbers would be left", c.InitialSeq, uint64(maxInitialSeq))
	}
	var err error
	if c.SegmentBytes, err = ParseSize(c.SegmentSize); err != nil {
		return fmt.Errorf("--segment-size: %w", err)
	}
	if c.SegmentBytes < minSegment || c.SegmentBytes > maxSegment {
		return fmt.Errorf("--segment-size %s is not between 1MiB and 1GiB", c.SegmentSize)
	}
	if c.SegmentAge < minSegmentAge {
		return fmt.Errorf("--segment-age %s is below %s", c.SegmentAge, minSegmentAge)
	}
	if c.Verify != VerifyStrict && c.Verify != VerifyLenient && c.Verify != VerifyOff {
		return fmt.Errorf("--verify %q is none of strict, lenient and off", c.Verify)
	}
	if err := c.validateUpstream(); err != nil {
		return err
	}
	if err := c.validateLedger(); err != nil {
		return err
	}
	if err := c.Identity.validate(); err != nil {
		return err
	}
	if c.DataDir == "" {
		return fmt.Errorf("--data-dir is empty")
	}
	if err := c.Archive.validate(); err != nil {
		return err
	}
	if err := c.Replay.validate(); err != nil {
		return err
	}
	_, err = c.Logger()
	return err
}

func checkURL(s string) error {
	u, err := url.Parse(s)
	if err != nil {
		return err
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return fmt.Errorf("not an http or https URL")
	}
	return nil
}

// Logger returns the logger that the configuration asks for, writing to standard
// error.
func (c *Config) Logger() (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.LogLevel)); err != nil {
		return nil, fmt.Errorf("--log-level %q is none of error, warn, info, debug", c.LogLevel)
	}
	o := &slog.HandlerOptions{Level: level}
	switch c.LogFormat {
	case "text":
		return slog.New(slog.NewTextHandler(os.Stderr, o)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(os.Stderr, o)), nil
	}
	return nil, fmt.Errorf("--log-format %q is neither text nor json", c.LogFormat)
}

func (c *Config) validateLedger() (err error) {
	if c.LedgerDays < 0 {
		return fmt.Errorf("--ledger-days %d is below 0", c.LedgerDays)
	}
	if c.Quarantine, err = ParseSize(c.QuarantineSize); err != nil {
		return fmt.Errorf("--quarantine-size: %w", err)
	}
	if c.Quarantine == 0 {
		c.Quarantine = -1
	}
	return nil
}
