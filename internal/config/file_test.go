package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func written(t *testing.T, text string) string {
	path := filepath.Join(t.TempDir(), "cistern.toml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestTheFileHasTheNamesOfTheFlags(t *testing.T) {
	path := written(t, `
# a relay
bind = "127.0.0.1:9000"
admin-password = ["one", "two"]
initial-seq-number = 77
disable-request-crawl = true
segment-age = "2m"
trusted-domains = ["*.one.example"]
verify = "lenient"
plc-rate = 0.5
`)
	for name, args := range map[string][]string{
		"before the command": {"--config", path, "serve"}, "after it": {"serve", "--config", path}, "in one": {"serve", "--config=" + path},
		"by the environment": {"serve"},
	} {
		t.Setenv("CISTERN_CONFIG", "")
		if name == "by the environment" {
			t.Setenv("CISTERN_CONFIG", path)
		}
		c, err := parse(t, args...)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if c.Bind != "127.0.0.1:9000" || len(c.AdminPasswords) != 2 || c.AdminPasswords[1] != "two" || c.InitialSeq != 77 || !c.Crawl.DisableRequestCrawl ||
			c.SegmentAge != 2*time.Minute || c.Crawl.TrustedDomains[0] != "*.one.example" || c.Verify != "lenient" || c.LedgerDays != 90 || c.Identity.PLCRate != 0.5 {
			t.Errorf("%s: %+v", name, c)
		}
	}
}

func TestAFlagIsAboveTheEnvironmentWhichIsAboveTheFile(t *testing.T) {
	path := written(t, "bind = \":1\"\nmetrics-listen = \":2\"\ndata-dir = \"three\"\n")
	t.Setenv("CISTERN_BIND", ":11")
	t.Setenv("CISTERN_METRICS_LISTEN", ":12")
	c, err := parse(t, "--config", path, "serve", "--bind", ":21")
	if err != nil || c.Bind != ":21" || c.MetricsListen != ":12" || c.DataDir != "three" {
		t.Errorf("%s %s %s, %v", c.Bind, c.MetricsListen, c.DataDir, err)
	}
}

func TestAFileThatIsWrongIsRefusedWithWhy(t *testing.T) {
	for text, want := range map[string]string{
		"bindd = \":1\"":              `no flag "bindd"`,
		"config = \"x\"":              `no flag "config"`,
		"bind = ":                     "line 1",
		"bind = 2026-01-01":           "bind: want a string",
		"[serve]\nbind = \":1\"":      "serve: want",
		"host = [\"a,b\"]":            "host: a list has strings without commas",
		"host = [1]":                  "host: a list",
		"segment-size = \"1\"":        "--segment-size",
		"initial-seq-number = \"no\"": "initial-seq-number",
	} {
		if _, err := parse(t, "--config", written(t, text), "serve"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	if _, err := parse(t, "--config", "/nowhere.toml", "serve"); err == nil || !strings.Contains(err.Error(), "/nowhere.toml") {
		t.Errorf("no file: %v", err)
	}
}

func TestAVariableOfNoFlagIsFound(t *testing.T) {
	c, err := parse(t, "serve")
	if err != nil {
		t.Fatal(err)
	}
	got := c.UnknownVariables([]string{"CISTERN_BIND=:1", "CISTERN_CONFIG=x", "CISTERN_BINDD=:1", "PATH=/bin", "RELAY_API_BIND=:1", "CISTERN_ADMIN_PASSWORD=x"})
	if len(got) != 1 || got[0] != "CISTERN_BINDD" {
		t.Errorf("%v", got)
	}
}
