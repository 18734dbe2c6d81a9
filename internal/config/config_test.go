package config

import (
	"context"
	"strings"
	"testing"

	"github.com/urfave/cli/v3"
)

// parse runs the flags of `serve` over a command line.
func parse(t *testing.T, args ...string) (Config, error) {
	t.Helper()
	var c Config
	c.FindFile(args)
	cmd := &cli.Command{
		Name: "cistern", Flags: c.CommonFlags(),
		Commands: []*cli.Command{{
			Name: "serve", Flags: c.ServeFlags(),
			Action: func(context.Context, *cli.Command) error { return c.Validate() },
		}},
	}
	err := cmd.Run(context.Background(), append([]string{"cistern"}, args...))
	return c, err
}

func TestTheDefaultsAreThoseOfTheReadme(t *testing.T) {
	c, err := parse(t, "serve")
	if err != nil {
		t.Fatal(err)
	}
	if c.DataDir != "./data" || c.Bind != ":2470" || c.MetricsListen != ":2471" || c.PLCHosts[0] != "https://plc.directory" ||
		c.Crawl.NewHostsPerDay != 50 || c.Crawl.AccountLimit != 100 || c.Crawl.TrustedDomains[0] != "*.host.bsky.network" || len(c.Crawl.Proxies) != 2 ||
		c.InitialSeq != 1 || c.SegmentBytes != 256<<20 || c.LogLevel != "info" || c.LedgerDays != 90 || c.Quarantine != 32<<20 || c.Verify != "strict" ||
		c.Identity.PLCRate != 100 || c.Identity.CacheBytes != 256<<20 {
		t.Fatalf("%+v", c)
	}
}

func TestTheReferenceRelaysVariablesAreRead(t *testing.T) {
	t.Setenv("RELAY_API_BIND", ":9999")
	t.Setenv("RELAY_PLC_HOST", "http://localhost:1")
	t.Setenv("RELAY_ADMIN_PASSWORD", "one,two")
	t.Setenv("RELAY_INITIAL_SEQ_NUMBER", "77")
	t.Setenv("CISTERN_DATA_DIR", "/elsewhere")
	t.Setenv("RELAY_DEFAULT_REPO_LIMIT", "5")
	t.Setenv("RELAY_NEW_HOSTS_PER_DAY_LIMIT", "6")
	t.Setenv("RELAY_DISABLE_REQUEST_CRAWL", "true")
	t.Setenv("RELAY_TRUSTED_DOMAINS", "*.one.example,two.example")
	c, err := parse(t, "serve")
	if err != nil {
		t.Fatal(err)
	}
	if c.Bind != ":9999" || c.PLCHosts[0] != "http://localhost:1" || len(c.AdminPasswords) != 2 || c.InitialSeq != 77 || c.DataDir != "/elsewhere" {
		t.Fatalf("%+v", c)
	}
	if h := c.Crawl; h.AccountLimit != 5 || h.NewHostsPerDay != 6 || !h.DisableRequestCrawl || len(h.TrustedDomains) != 2 {
		t.Fatalf("%+v", h)
	}
	t.Setenv("CISTERN_BIND", ":8888") // our own name goes first
	if c, _ = parse(t, "serve"); c.Bind != ":8888" {
		t.Fatalf("bind %s", c.Bind)
	}
}

func TestCommonFlagsMayStandOnEitherSide(t *testing.T) {
	for _, args := range [][]string{{"--log-level", "debug", "serve"}, {"serve", "--log-level", "debug"}} {
		if c, err := parse(t, args...); err != nil || c.LogLevel != "debug" {
			t.Errorf("%v: %q, %v", args, c.LogLevel, err)
		}
	}
}

func TestAWrongValueIsNamedWithItsFlag(t *testing.T) {
	for _, c := range []struct{ flag, value string }{
		{"bind", "2470"}, {"metrics-listen", "nowhere"}, {"plc-host", "plc.directory"}, {"host", "ftp://x"},
		{"pull-hosts-from", "relay"}, {"trusted-domains", "*.a.*"}, {"trusted-domains", "https://x"}, {"new-hosts-per-day-limit", "-1"},
		{"default-account-limit", "-1"}, {"trusted-proxies", "localhost"}, {"log-level", "loud"}, {"log-format", "xml"}, {"initial-seq-number", "9007199254740991"},
		{"data-dir", ""}, {"segment-size", "big"}, {"segment-size", "1KiB"}, {"segment-size", "2GiB"}, {"segment-age", "1ms"},
		{"plc-rate", "-1"}, {"plc-rate", "NaN"}, {"plc-rate", "2e6"}, {"identity-cache", "1KiB"}, {"identity-cache", "large"},
	} {
		if _, err := parse(t, "serve", "--"+c.flag, c.value); err == nil || !strings.Contains(err.Error(), c.flag) {
			t.Errorf("--%s %q: %v", c.flag, c.value, err)
		}
	}
}

func TestSizes(t *testing.T) {
	for s, want := range map[string]int64{"256MiB": 256 << 20, "4096": 4096, "50GB": 50e9, "1 KiB": 1024, "7B": 7} {
		if got, err := ParseSize(s); err != nil || got != want {
			t.Errorf("%s: %d, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "x", "-1MiB", "1.5GiB", "9999999999TiB", "MiB"} {
		if _, err := ParseSize(s); err == nil {
			t.Errorf("%q is a size", s)
		}
	}
}

func TestRelaysAreFollowedInsteadOfHosts(t *testing.T) {
	c, err := parse(t, "serve", "--upstream-relay", "http://localhost:1")
	if err != nil || !c.Upstream.Mirror() || !c.Upstream.KeepSeq() {
		t.Errorf("one relay: %+v, %v", c.Upstream, err)
	}
	c, err = parse(t, "serve", "--upstream-relay", "https://a.example", "--upstream-relay", "https://b.example", "--verify", "off")
	if err != nil || len(c.Upstream.Relays) != 2 || c.Upstream.KeepSeq() {
		t.Errorf("two: %+v, %v", c.Upstream, err)
	}
	for _, args := range [][]string{
		{"--seq", "upstream"}, {"--upstream-cursor", "7"}, {"--upstream-epoch", "1"}, {"--verify", "off"},
		{"--upstream-relay", "ftp://a.example"}, {"--upstream-relay", "https://a.example", "--seq", "both"},
		{"--upstream-relay", "https://a.example", "--host", "https://pds.example"}, {"--upstream-relay", "https://a.example", "--pull-hosts-from", "https://b.example"},
		{"--upstream-relay", "https://a.example", "--upstream-relay", "https://a.example"}, {"--upstream-relay", "https://a.example", "--demo"},
		{"--upstream-relay", "https://a.example", "--upstream-relay", "https://b.example", "--seq", "upstream"},
		{"--upstream-relay", "https://a.example", "--seq", "own", "--upstream-epoch", "1"}, {"--upstream-relay", "https://a.example", "--initial-seq-number", "9"},
	} {
		if _, err := parse(t, append([]string{"serve"}, args...)...); err == nil || !strings.Contains(err.Error(), strings.TrimPrefix(args[0], "--")) && !strings.Contains(err.Error(), "--") {
			t.Errorf("%v: %v", args, err)
		}
	}
}
