package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func mutants(t *testing.T) (root string, all []*mutant) {
	t.Helper()
	root, err := checkout(t.Context())
	if err != nil {
		t.Skip(err) // of an archive of the sources, say
	}
	all, err = load(root)
	if err != nil {
		t.Fatal(err)
	}
	return root, all
}

func TestEveryMutantAppliesAndHasANumberOfItsOwn(t *testing.T) {
	root, all := mutants(t)
	if len(all) < 36 {
		t.Fatalf("%d mutants", len(all))
	}
	b := &bench{dir: t.TempDir()}
	numbers := make(map[string]string)
	for _, m := range all {
		if number, _, _ := strings.Cut(m.name, "-"); numbers[number] != "" {
			t.Errorf("%s and %s have one number", numbers[number], m.name)
		} else {
			numbers[number] = m.name
		}
		if output, err := b.git(t.Context(), root, "apply", "--check", m.path); err != nil {
			t.Errorf("%s does not apply any more: %v\n%s", m.name, err, output)
		}
	}
}

func TestAPatchSaysWhatItBreaksAndWhichTestsNotice(t *testing.T) {
	const good = "# breaks: T1: a rule\n# package: ./internal/verify\n# run: ^TestA$|^TestB$/x\n--- a/x\n+++ b/x\n"
	m := &mutant{name: "001-a-rule"}
	if err := m.parse(good); err != nil {
		t.Fatal(err)
	}
	if m.breaks != "T1: a rule" || m.pkg != "./internal/verify" || strings.Join(m.tests(), " ") != "^TestA$ ^TestB$" {
		t.Errorf("%+v", m)
	}
	for what, patch := range map[string]string{
		"no breaks":         strings.Replace(good, "# breaks: T1: a rule\n", "", 1),
		"no package":        strings.Replace(good, "# package: ./internal/verify\n", "", 1),
		"no run":            strings.Replace(good, "# run: ^TestA$|^TestB$/x\n", "", 1),
		"another line":      "# by: someone\n" + good,
		"a bad expression":  strings.Replace(good, "^TestA$", "^TestA($", 1),
		"a package by path": strings.Replace(good, "./internal", "internal", 1),
	} {
		if err := (&mutant{name: "001-a-rule"}).parse(patch); err == nil {
			t.Errorf("%s: taken", what)
		}
	}
	if err := (&mutant{name: "a-rule"}).parse(good); err == nil {
		t.Error("a name without a number is taken")
	}
}

func TestOnlyATestThatFailsKills(t *testing.T) {
	exit := func(command string) error { return exec.Command("sh", "-c", command).Run() }
	for _, c := range []struct {
		output string
		err    error
		want   fate
		detail string
	}{
		{"PASS\n", nil, alive, ""},
		{"--- FAIL: TestA (0.00s)\n    --- FAIL: TestA/b (0.00s)\nFAIL\n", exit("exit 1"), dead, "TestA/b"},
		{"panic: index out of range\n\ngoroutine 1", exit("exit 2"), dead, "index out of range"},
		{"panic: test timed out after 2m0s\n", exit("exit 2"), broken, ""},
		{"", exit("kill -9 $$"), broken, ""},
		{"", errors.New("no such file"), broken, ""},
	} {
		r := judge(c.output, c.err)
		if r.fate != c.want || c.detail != "" && r.detail != c.detail {
			t.Errorf("%q, %v: %s by %q, want %s by %q", c.output, c.err, r.fate, r.detail, c.want, c.detail)
		}
	}
}

// A module whose code is right, whose one test looks at half of it.
var module = map[string]string{
	"go.mod": "module example.com/m\n\ngo 1.24\n",
	"p/p.go": "package p\n\nfunc One() int { return 1 }\n\nfunc Two() int { return 2 }\n",
	"p/p_test.go": "package p\n\nimport \"testing\"\n\nfunc TestOne(t *testing.T) {\n\tif One() != 1 {\n\t\tt.Error(\"it is not\")\n\t}\n}\n\n" +
		"func TestSkipped(t *testing.T) { t.Skip() }\n",
}

func patch(run, before, after string) string {
	return "# breaks: a number\n# package: ./p\n# run: " + run + "\n--- a/p/p.go\n+++ b/p/p.go\n@@ -1,5 +1,5 @@\n package p\n \n" +
		strings.Replace(" func One() int { return 1 }\n \n func Two() int { return 2 }\n", " "+before+"\n", "-"+before+"\n+"+after+"\n", 1)
}

func TestAMutantThatNoTestNoticesIsToldAndTheCheckoutStaysAsItWas(t *testing.T) {
	const one, two = "func One() int { return 1 }", "func Two() int { return 2 }"
	root := t.TempDir()
	write := func(name, content string) {
		t.Helper()
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, content := range module {
		write(name, content)
	}
	write(folder+"/001-one.patch", patch("^TestOne$", one, "func One() int { return 3 }"))
	write(folder+"/002-two.patch", patch("^TestOne$", two, "func Two() int { return 3 }"))
	write(folder+"/003-gone.patch", patch("^TestOne$", "func Three() int { return 3 }", ""))
	write(folder+"/004-no-code.patch", patch("^TestOne$", one, "func One() int { return nil }"))
	all, err := load(root)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	b := &bench{root: root, dir: t.TempDir(), jobs: 1, out: &out}
	err = b.all(t.Context(), all)
	if err == nil || err.Error() != "not killed: 002-two, 003-gone, 004-no-code" {
		t.Errorf("%v", err)
	}
	for _, line := range []string{"killed   001-one", "SURVIVED 002-two", "BROKEN   003-gone", "BROKEN   004-no-code", "1 of 4 mutants killed"} {
		if !strings.Contains(out.String(), line) {
			t.Errorf("nothing says %q:\n%s", line, &out)
		}
	}
	for name, content := range module {
		if got, err := os.ReadFile(filepath.Join(root, name)); err != nil || string(got) != content {
			t.Errorf("%s changed: %v\n%s", name, err, got)
		}
	}
	// A test that is skipped, or is not there, guards nothing.
	for _, run := range []string{"^TestSkipped$", "^TestMissing$"} {
		m := &mutant{name: "005-unguarded", pkg: "./p", run: run}
		if err := b.all(t.Context(), []*mutant{m}); err == nil || !strings.Contains(err.Error(), "no such test ran and passed") {
			t.Errorf("%s: %v", run, err)
		}
	}
}
