// Package contrib has no code: these tests hold what operators copy against what there is.
package contrib

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const root = ".."

// files calls f with the text of every file below a folder whose name ends so.
func files(t *testing.T, dir, suffix string, f func(path, text string)) {
	t.Helper()
	err := filepath.WalkDir(filepath.Join(root, dir), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, suffix) {
			return err
		}
		b, err := os.ReadFile(path)
		f(path, string(b))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// metrics are the names that the program registers.
func metrics(t *testing.T) map[string]bool {
	names := map[string]bool{}
	whole, replay := regexp.MustCompile(`"(cistern_[a-z_]+)"`), regexp.MustCompile(`describe\("([a-z_]+)"`)
	for _, dir := range []string{"internal", "replay"} {
		files(t, dir, ".go", func(_, text string) {
			for _, m := range whole.FindAllStringSubmatch(text, -1) {
				names[m[1]] = true
			}
			if dir == "replay" {
				for _, m := range replay.FindAllStringSubmatch(text, -1) {
					names["cistern_replay_"+m[1]] = true
				}
			}
		})
	}
	return names
}

func TestEveryMetricThatIsSpokenOfExists(t *testing.T) {
	known, spoken := metrics(t), 0
	name := regexp.MustCompile(`\bcistern_[a-z_]+`)
	check := func(path, text string) {
		for _, m := range name.FindAllString(text, -1) {
			for _, suffix := range []string{"_bucket", "_sum", "_count"} {
				m = strings.TrimSuffix(m, suffix)
			}
			if spoken++; !known[m] && !strings.HasSuffix(m, "_") { // a prefix stands for many
				t.Errorf("%s names %s", path, m)
			}
		}
	}
	files(t, "contrib", ".yml", check)
	files(t, "contrib", ".json", check)
	files(t, "docs", ".md", check)
	if spoken < 100 || len(known) < 50 {
		t.Errorf("%d names of %d were held against each other", spoken, len(known))
	}
}

func TestEveryAlertSaysWhatToDo(t *testing.T) {
	rules, err := os.ReadFile("prometheus/cistern.rules.yml")
	if err != nil {
		t.Fatal(err)
	}
	tests, err := os.ReadFile("prometheus/cistern.rules.test.yml")
	if err != nil {
		t.Fatal(err)
	}
	book, err := os.ReadFile(filepath.Join(root, "docs/operations.md"))
	if err != nil {
		t.Fatal(err)
	}
	alerts := regexp.MustCompile(`(?m)- alert: (\w+)`).FindAllStringSubmatch(string(rules), -1)
	if len(alerts) < 10 {
		t.Fatalf("%d alerts", len(alerts))
	}
	for _, a := range alerts {
		if !strings.Contains(string(book), "### "+a[1]+"\n") || !strings.Contains(string(rules), "#"+strings.ToLower(a[1])+"\n") {
			t.Errorf("%s has no entry in docs/operations.md, or does not name it", a[1])
		}
		if strings.Count(string(tests), a[1]) < 2 {
			t.Errorf("%s has no test in which it is quiet and one in which it fires", a[1])
		}
	}
}
