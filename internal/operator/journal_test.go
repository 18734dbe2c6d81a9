package operator

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/cistern-archive/cistern/segmentlog"
)

const dir = "data"

var path = "data/" + FileName

func newFS(t testing.TB) *vfs.MemFS {
	t.Helper()
	fs := vfs.NewCrashableMem()
	if err := fs.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	root, err := fs.OpenDir("")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(root.Sync(), root.Close()); err != nil {
		t.Fatal(err)
	}
	return fs
}

func options(fs vfs.FS) Options {
	return Options{Dir: dir, FS: fs, Now: func() time.Time { return time.Unix(1_767_225_600, 0) }}
}

func mustOpen(t testing.TB, o Options) *Journal {
	t.Helper()
	j, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { j.Close() })
	return j
}

func mustDecide(t testing.TB, j *Journal, ds ...Decision) {
	t.Helper()
	for _, d := range ds {
		if err := j.Decide(d); err != nil {
			t.Fatalf("%+v: %v", d, err)
		}
	}
}

func write(t testing.TB, fs vfs.FS, content string) {
	t.Helper()
	f, err := fs.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(f, content); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Sync(), f.Close(), segmentlog.SyncDir(fs, dir)); err != nil {
		t.Fatal(err)
	}
}

func contentOf(t testing.TB, fs vfs.FS) string {
	t.Helper()
	f, err := fs.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func num(n int64) *int64 { return &n }

func TestDecisionsAreInForceAgainAfterAStart(t *testing.T) {
	fs := newFS(t)
	j := mustOpen(t, options(fs))
	mustDecide(t, j,
		Decision{Action: Takedown, Subject: "did:plc:one", Note: "court order 7"},
		Decision{Action: Takedown, Subject: "did:plc:two"},
		Decision{Action: ReverseTakedown, Subject: "did:plc:one"},
		Decision{Action: BlockHost, Subject: "pds.spam.example"},
		Decision{Action: BlockHost, Subject: "localhost:2583"},
		Decision{Action: BlockHost, Subject: "gone.example"},
		Decision{Action: UnblockHost, Subject: "gone.example"},
		Decision{Action: BanDomain, Subject: "evil.example"},
		Decision{Action: BanDomain, Subject: "good.example"},
		Decision{Action: UnbanDomain, Subject: "good.example"},
		Decision{Action: LimitAccounts, Subject: "big.example", Limit: num(5000)},
		Decision{Action: LimitEvents, Subject: "big.example", PerSecond: num(500), PerDay: num(1e6)},
		Decision{Action: LimitAccounts, Subject: "small.example", Limit: num(1)},
		Decision{Action: LimitAccounts, Subject: "small.example"},
		Decision{Action: LimitNewHosts, Subject: Everyone, Limit: num(7)},
	)
	for range 2 {
		again := mustOpen(t, options(fs))
		if !reflect.DeepEqual(again.state, j.state) {
			t.Fatalf("after a start:\n%+v\nbefore:\n%+v", again.state, j.state)
		}
		j = again
	}
	if got := j.Takedowns(); !slices.Equal(got, []string{"did:plc:two"}) || !j.TakenDown("did:plc:two") || j.TakenDown("did:plc:one") {
		t.Errorf("takedowns %v", got)
	}
	if got := j.BlockedHosts(); !slices.Equal(got, []string{"localhost:2583", "pds.spam.example"}) {
		t.Errorf("blocked %v", got)
	}
	if got := j.DomainBans(); !slices.Equal(got, []string{"evil.example"}) {
		t.Errorf("banned %v", got)
	}
	if l := j.Limits("big.example"); *l.Accounts != 5000 || *l.PerSecond != 500 || l.PerHour != nil || *l.PerDay != 1e6 {
		t.Errorf("limits %+v", l)
	}
	if l := j.Limits("small.example"); l != (HostLimits{}) {
		t.Errorf("limits that were taken back: %+v", l)
	}
	if n, decided := j.NewHostsPerDay(); n != 7 || !decided {
		t.Errorf("new hosts per day %d, %v", n, decided)
	}
}

func TestADomainBanCoversAllNamesBelowItAndNoOther(t *testing.T) {
	j := mustOpen(t, options(newFS(t)))
	mustDecide(t, j, Decision{Action: BanDomain, Subject: "example.com"}, Decision{Action: BlockHost, Subject: "one.example.org"})
	for host, want := range map[string]string{
		"example.com": "example.com", "a.example.com": "example.com", "a.b.c.example.com": "example.com", "a.example.com:8443": "example.com",
		"notexample.com": "", "example.com.evil.org": "", "com": "", "example.org": "",
		"one.example.org": "one.example.org", "two.one.example.org": "", "one.example.org:8443": "", "[2606:4700::1]": "", "127.0.0.1:80": "",
	} {
		subject, banned := j.Banned(host)
		if subject != want || banned != (want != "") {
			t.Errorf("%s: %q, %v, want %q", host, subject, banned, want)
		}
	}
}

func TestWhatIsNoDecisionIsRefusedAndNotWritten(t *testing.T) {
	fs := newFS(t)
	j := mustOpen(t, options(fs))
	for _, d := range []Decision{
		{}, {Action: "later", Subject: "x"}, {Action: Takedown, Subject: "alice"}, {Action: BlockHost}, {Action: BlockHost, Subject: "https://a.example"},
		{Action: BlockHost, Subject: "A.example"}, {Action: BlockHost, Subject: "a b"}, {Action: BlockHost, Subject: "a\n"},
		{Action: BanDomain, Subject: "com"}, {Action: BanDomain, Subject: "a.example:80"}, {Action: BanDomain, Subject: "Example.com"}, {Action: BanDomain, Subject: "*.example.com"},
		{Action: LimitAccounts, Subject: "a.example", Limit: num(0)}, {Action: LimitEvents, Subject: "a.example", PerHour: num(0)},
		{Action: LimitNewHosts, Subject: "a.example", Limit: num(1)}, {Action: LimitNewHosts, Subject: Everyone, Limit: num(-1)},
		{Action: BlockHost, Subject: "a.example", Note: strings.Repeat("x", maxLine)},
	} {
		if err := j.Decide(d); err == nil {
			t.Errorf("%+v was taken", d)
		}
	}
	mustDecide(t, j, Decision{Action: BlockHost, Subject: "a.example"})
	before := contentOf(t, fs)
	mustDecide(t, j, Decision{Action: BlockHost, Subject: "a.example"}, Decision{Action: UnbanDomain, Subject: "b.example"})
	if got := contentOf(t, fs); got != before || strings.Count(got, "\n") != 1 {
		t.Errorf("the file is\n%s", got)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if err := j.Decide(Decision{Action: BlockHost, Subject: "b.example"}); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

const blockA = `{"time":"2026-01-01T00:00:00Z","action":"block-host","subject":"a.example"}` + "\n"

func TestATornLastLineIsCutAndNeverBlocksTheStart(t *testing.T) {
	whole := `{"time":"2026-01-01T00:00:01Z","action":"ban-domain","subject":"b.example"}`
	for _, torn := range []string{
		"{", whole[:10], whole[:len(whole)-1], "\x00\x00\x00", whole[:20] + "\x00\x00\x00", "\x00\x00" + whole[2:] + "\n", strings.Repeat("\x00", 3*maxLine), "\x00\n",
	} {
		fs := newFS(t)
		write(t, fs, blockA+torn)
		var logged bytes.Buffer
		o := options(fs)
		o.Logger = slog.New(slog.NewTextHandler(&logged, nil))
		j := mustOpen(t, o)
		if got := contentOf(t, fs); got != blockA {
			t.Errorf("torn %.40q: the file is %q", torn, got)
		}
		if !strings.Contains(logged.String(), fmt.Sprintf("line=2 bytes=%d", len(torn))) {
			t.Errorf("torn %.40q: logged %q", torn, logged.String())
		}
		if len(j.BlockedHosts()) != 1 || len(j.DomainBans()) != 0 {
			t.Errorf("torn %.40q: %v, %v", torn, j.BlockedHosts(), j.DomainBans())
		}
		mustDecide(t, j, Decision{Action: BanDomain, Subject: "c.example"})
		if got := mustOpen(t, options(fs)).DomainBans(); !slices.Equal(got, []string{"c.example"}) {
			t.Errorf("torn %.40q: decided after it, found %v", torn, got)
		}
	}
	// What only lacks its end says what it says.
	fs := newFS(t)
	write(t, fs, blockA+whole)
	mustDecide(t, mustOpen(t, options(fs)), Decision{Action: BanDomain, Subject: "c.example"})
	if got := mustOpen(t, options(fs)).DomainBans(); !slices.Equal(got, []string{"b.example", "c.example"}) {
		t.Errorf("without a newline: %v", got)
	}
}

func TestADamagedLineStopsTheStartAndIsNamed(t *testing.T) {
	for name, line := range map[string]string{
		"not JSON": "block a.example", "zeros": "\x00\x00\x00", "null": "null", "a list": "[]", "no time": `{"action":"block-host","subject":"a.example"}`,
		"no action": `{"time":"2026-01-01T00:00:00Z","subject":"a.example"}`, "bad subject": `{"time":"2026-01-01T00:00:00Z","action":"block-host","subject":"a b"}`,
		"two": strings.TrimSpace(blockA) + strings.TrimSpace(blockA), "too long": strings.Repeat(" ", maxLine) + strings.TrimSpace(blockA),
	} {
		fs := newFS(t)
		write(t, fs, blockA+line+"\n"+blockA)
		_, err := Open(options(fs))
		var ce *CorruptError
		if !errors.As(err, &ce) || ce.Line != 2 || ce.File != path || !strings.Contains(err.Error(), "mend the line") {
			t.Errorf("%s: %v", name, err)
		}
		if got := contentOf(t, fs); got != blockA+line+"\n"+blockA {
			t.Errorf("%s: the file was changed to %q", name, got)
		}
	}
	// The last line too, when no crash explains what it says.
	fs := newFS(t)
	write(t, fs, blockA+"block b.example\n")
	if _, err := Open(options(fs)); err == nil {
		t.Error("a last line that was acknowledged and damaged is cut")
	}
}

func TestLinesOfLaterVersionsAreKeptAndWarnedAbout(t *testing.T) {
	fs := newFS(t)
	later := `{"time":"2027-01-01T00:00:00Z","action":"paint-host","subject":{"host":"a.example"},"colour":[1,2]}` + "\n"
	extra := `{"time":"2027-01-01T00:00:00Z","action":"block-host","subject":"b.example","ticket":77}` + "\n"
	write(t, fs, "\n"+later+extra+"\n"+later)
	var logged bytes.Buffer
	o := options(fs)
	o.Logger = slog.New(slog.NewTextHandler(&logged, nil))
	j := mustOpen(t, o)
	mustDecide(t, j, Decision{Action: BlockHost, Subject: "c.example"})
	if !strings.HasPrefix(contentOf(t, fs), "\n"+later+extra+"\n"+later) {
		t.Errorf("the file is\n%s", contentOf(t, fs))
	}
	if !slices.Equal(j.BlockedHosts(), []string{"b.example", "c.example"}) {
		t.Errorf("blocked %v", j.BlockedHosts())
	}
	if !strings.Contains(logged.String(), "action=paint-host lines=2") {
		t.Errorf("logged %q", logged.String())
	}
}

// Every write operation fails once. A decision that failed is not in force, one that
// was acknowledged is, now and after a start; and the next one works.
func TestADecisionThatCannotBeWrittenIsNotInForce(t *testing.T) {
	failures := 0
	for n := 1; ; n++ {
		mem := newFS(t)
		write(t, mem, blockA)
		left, fired := -1, false
		inject := errorfs.InjectorFunc(func(op errorfs.Op) error {
			if op.Kind.ReadOrWrite() == errorfs.OpIsRead {
				return nil
			}
			if left--; left != 0 {
				return nil
			}
			fired = true
			return errorfs.ErrInjected
		})
		j := mustOpen(t, options(errorfs.Wrap(mem, inject)))
		left = n
		var acked []string
		for i := range 4 {
			host := fmt.Sprintf("h%d.example", i)
			if i == 2 && j.file != nil {
				j.file.Close() // so that opening it again is tried too
				j.file = nil
			}
			err := j.Decide(Decision{Action: BlockHost, Subject: host})
			_, banned := j.Banned(host)
			if banned != (err == nil) {
				t.Fatalf("operation %d: Decide returned %v, and the host is banned: %v", n, err, banned)
			}
			if err == nil {
				acked = append(acked, host)
			}
		}
		if len(acked) < 3 {
			t.Fatalf("operation %d failed and only %v were decided", n, acked)
		}
		again := mustOpen(t, options(mem.CrashClone(vfs.CrashCloneCfg{})))
		if got := again.BlockedHosts(); !slices.Equal(got, append([]string{"a.example"}, acked...)) {
			t.Fatalf("operation %d: %v after a power cut, acknowledged were %v", n, got, acked)
		}
		if !fired {
			break
		}
		failures++
	}
	if failures < 8 {
		t.Errorf("only %d operations failed", failures)
	}
}

func TestAFullDiskDoesNotStopTheStart(t *testing.T) {
	mem := newFS(t)
	write(t, mem, blockA+"{\"torn")
	full := true
	j := mustOpen(t, options(errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if full && op.Kind.ReadOrWrite() == errorfs.OpIsWrite {
			return errorfs.ErrInjected
		}
		return nil
	}))))
	if _, banned := j.Banned("a.example"); !banned {
		t.Error("what was decided is not in force")
	}
	if err := j.Decide(Decision{Action: BlockHost, Subject: "b.example"}); !errors.Is(err, errorfs.ErrInjected) {
		t.Fatalf("on a full disk: %v", err)
	}
	full = false
	mustDecide(t, j, Decision{Action: BlockHost, Subject: "b.example"})
	if got := mustOpen(t, options(mem)).BlockedHosts(); !slices.Equal(got, []string{"a.example", "b.example"}) {
		t.Errorf("blocked %v", got)
	}
}
