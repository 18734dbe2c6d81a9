package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// folder is where the patches are, within the checkout.
const folder = "testing/mutants"

// mutant is a patch. It begins with three lines that git passes over:
//
//	# breaks: the rule, in words
//	# package: ./internal/verify
//	# run: ^TestThatGuardsIt$
type mutant struct {
	name   string // of the file, without .patch
	path   string
	breaks string
	pkg    string // whose tests guard the rule
	run    string // which tests, as for go test -run
}

var patchName = regexp.MustCompile(`^\d{3}-[a-z0-9-]+\.patch$`)

// load reads all mutants, by name.
func load(root string) ([]*mutant, error) {
	paths, err := filepath.Glob(filepath.Join(root, folder, "*.patch"))
	if err != nil {
		return nil, err
	}
	var mutants []*mutant
	for _, path := range paths { // Glob sorts
		b, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		m := &mutant{name: strings.TrimSuffix(filepath.Base(path), ".patch"), path: path}
		if err := m.parse(string(b)); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		mutants = append(mutants, m)
	}
	return mutants, nil
}

// parse reads the lines before the diff.
func (m *mutant) parse(patch string) error {
	if !patchName.MatchString(m.name + ".patch") {
		return errors.New("the name is not like 001-what-it-does.patch")
	}
	for line := range strings.SplitSeq(patch, "\n") {
		comment, ok := strings.CutPrefix(line, "# ")
		if !ok {
			break
		}
		key, value, _ := strings.Cut(comment, ": ")
		switch key {
		case "breaks":
			m.breaks = value
		case "package":
			m.pkg = value
		case "run":
			m.run = value
		default:
			return fmt.Errorf("unknown line %q", line)
		}
	}
	if m.breaks == "" || !strings.HasPrefix(m.pkg, "./") || m.run == "" {
		return errors.New("it must begin with lines for breaks, package and run")
	}
	for _, name := range m.tests() {
		if _, err := regexp.Compile(name); err != nil {
			return err
		}
	}
	return nil
}

// tests returns the patterns of top-level tests in m.run.
func (m *mutant) tests() []string {
	var tests []string
	for one := range strings.SplitSeq(m.run, "|") {
		name, _, _ := strings.Cut(one, "/")
		tests = append(tests, name)
	}
	return tests
}

// matches says whether the mutant has one of the words in its name or its package; without
// words it does.
func (m *mutant) matches(words []string) bool {
	for _, w := range words {
		if strings.Contains(m.name, w) || strings.Contains(m.pkg, w) {
			return true
		}
	}
	return len(words) == 0
}
