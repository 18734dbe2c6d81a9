package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// referenceModule is where the reference relay comes from, in the version that this
// module requires for its libraries.
const referenceModule = "github.com/bluesky-social/indigo"

// reference is the reference relay.
type reference struct {
	path  string
	empty string // a data directory with the tables and nothing in them
}

// installReference installs the relay into the cache, and lets it make its tables.
func installReference(ctx context.Context, dir string) (*reference, error) {
	out, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Version}}", referenceModule).Output()
	if err != nil {
		return nil, fmt.Errorf("version of %s: %w", referenceModule, err)
	}
	version := strings.TrimSpace(string(out))
	r := &reference{
		path:  filepath.Join(cacheDir(), "relay-"+version, "relay"),
		empty: filepath.Join(dir, "reference-empty"),
	}
	if _, err := os.Stat(r.path); err != nil {
		if err := r.install(ctx, version); err != nil {
			return nil, err
		}
	}
	relay, err := r.launch(ctx, r.empty)
	if err != nil {
		return nil, err
	}
	return r, relay.stop()
}

func (r *reference) install(ctx context.Context, version string) error {
	progress("installing the reference relay %s (once)", version)
	tmp := fmt.Sprintf("%s.%d", filepath.Dir(r.path), os.Getpid())
	install := exec.CommandContext(ctx, "go", "install", referenceModule+"/cmd/relay@"+version)
	install.SysProcAttr = childAttr()
	install.Env = append(os.Environ(), "GOBIN="+tmp, "GOFLAGS=", "CGO_ENABLED=1")
	if out, err := install.CombinedOutput(); err != nil {
		return errors.Join(fmt.Errorf("install the reference relay: %w\n%s", err, out), os.RemoveAll(tmp))
	}
	return os.Rename(tmp, filepath.Dir(r.path))
}

func (r *reference) name() string { return "reference relay" }

func database(dir string) string { return filepath.Join(dir, "data", "relay.sqlite") }

// launch starts the program over a data directory as it is.
func (r *reference) launch(ctx context.Context, dir string, flags ...string) (*relay, error) {
	if err := os.MkdirAll(filepath.Join(dir, "data"), 0o755); err != nil {
		return nil, err
	}
	relay, err := newRelay("disk_persister_current_seq", 1)
	if err != nil {
		return nil, err
	}
	args := slices.Concat(flags, []string{"--log-level", "error", "serve", "--disable-request-crawl", "--admin-password", "bench",
		"--db-url", "sqlite://" + database(dir), "--persist-dir", filepath.Join(dir, "data", "persist"),
		"--bind", relay.addr, "--metrics-listen", relay.metricsAddr()})
	return relay.launch(ctx, "reference", dir, r.path, args...)
}

// start gives the relay its hosts by its database: its API refuses loopback hosts.
func (r *reference) start(ctx context.Context, dir string, from *upstream) (*relay, error) {
	if from == nil {
		if err := execSQL(ctx, database(dir), "UPDATE host SET status = 'idle';"); err != nil {
			return nil, err
		}
		return r.launch(ctx, dir)
	}
	if err := os.CopyFS(filepath.Join(dir, "data"), os.DirFS(filepath.Join(r.empty, "data"))); err != nil {
		return nil, err
	}
	var sql strings.Builder
	for _, h := range from.Hosts {
		fmt.Fprintf(&sql, "INSERT INTO host (created_at, updated_at, hostname, no_ssl, account_limit, trusted, status, last_seq, account_count) "+
			"VALUES (datetime('now'), datetime('now'), '%s', 1, 1000000, 1, 'active', -1, 0);\n", h)
	}
	if err := execSQL(ctx, database(dir), sql.String()); err != nil {
		return nil, err
	}
	return r.launch(ctx, dir, "--plc-host", from.PLC)
}

// execSQL runs statements with whichever SQLite program the machine has.
func execSQL(ctx context.Context, db, sql string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sqlite3", "-bail", db)
	if _, err := exec.LookPath("sqlite3"); err != nil {
		const script = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.executescript(sys.stdin.read()); c.commit()"
		cmd = exec.CommandContext(ctx, "python3", "-c", script, db)
		if _, err := exec.LookPath("python3"); err != nil {
			return errors.New("the reference relay's hosts are written into its database: install sqlite3 (or python3), or run with -peer \"\"")
		}
	}
	cmd.Stdin = strings.NewReader(sql)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("write hosts into %s: %w\n%s", db, err, out)
	}
	return nil
}
