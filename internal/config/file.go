package config

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/BurntSushi/toml"
	"github.com/urfave/cli/v3"
)

// file is the file that --config names: `name = value` lines of TOML whose names are those of
// the flags. It is read when the first flag is looked up in it.
type file struct {
	path   string
	loaded bool
	err    error
	values map[string]string
	known  map[string]bool // names of flags
}

// FindFile looks for --config in a command line before it is parsed: flags that stand before
// a command are looked up before those behind it are known.
func (c *Config) FindFile(args []string) {
	c.file.path = os.Getenv(variable("config"))
	for i, arg := range args {
		name, value, has := strings.Cut(arg, "=")
		switch {
		case arg == "--":
			return
		case name != "--config" && name != "-config":
		case has:
			c.file.path = value
		case i+1 < len(args):
			c.file.path = args[i+1]
		}
	}
}

// sourcesOf returns where a flag is read from besides the command line: CISTERN_<NAME> first,
// then the names that the reference relay uses, then the file.
func (f *file) sourcesOf(name string, others ...string) cli.ValueSourceChain {
	if f.known == nil {
		f.known = map[string]bool{}
	}
	f.known[name] = true
	chain := cli.EnvVars(append([]string{variable(name)}, others...)...)
	chain.Chain = append(chain.Chain, &fileValue{f, name})
	return chain
}

// variable is the environment variable of a flag.
func variable(name string) string {
	return "CISTERN_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
}

// fileValue is one flag's value in the file.
type fileValue struct {
	file *file
	name string
}

// Lookup is of cli.ValueSource.
func (v *fileValue) Lookup() (string, bool) {
	v.file.load()
	s, ok := v.file.values[v.name]
	return s, ok
}

func (v *fileValue) String() string   { return fmt.Sprintf("%s of the file %s", v.name, v.file.path) }
func (v *fileValue) GoString() string { return v.String() }

func (f *file) load() {
	if f.loaded || f.path == "" {
		return
	}
	f.loaded = true
	b, err := os.ReadFile(f.path)
	if err == nil {
		f.values, err = parseFile(string(b))
	}
	f.err = err
}

// parseFile reads the names and values of a file.
func parseFile(text string) (map[string]string, error) {
	var raw map[string]any
	if _, err := toml.Decode(text, &raw); err != nil {
		var bad toml.ParseError
		if errors.As(err, &bad) {
			return nil, fmt.Errorf("line %d: %s", bad.Position.Line, bad.Message)
		}
		return nil, err
	}
	values := make(map[string]string, len(raw))
	for name, v := range raw {
		s, err := textOf(v)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		values[name] = s
	}
	return values, nil
}

// textOf is a value as it would stand in an environment variable.
func textOf(v any) (string, error) {
	switch v := v.(type) {
	case string:
		return v, nil
	case bool:
		return strconv.FormatBool(v), nil
	case int64:
		return strconv.FormatInt(v, 10), nil
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64), nil
	case []any:
		list := make([]string, 0, len(v))
		for _, one := range v {
			s, ok := one.(string)
			if !ok || strings.Contains(s, ",") {
				return "", errors.New("a list has strings without commas")
			}
			list = append(list, s)
		}
		return strings.Join(list, ","), nil
	}
	return "", errors.New("want a string, a number, true or false, or a list of strings")
}

// check says what is wrong with the file, in words that name it.
func (f *file) check() error {
	f.load()
	if f.err != nil {
		return fmt.Errorf("--config %s: %w", f.path, f.err)
	}
	for _, name := range slices.Sorted(maps.Keys(f.values)) {
		if !f.known[name] {
			return fmt.Errorf("--config %s: there is no flag %q", f.path, name)
		}
	}
	return nil
}

// UnknownVariables lists the variables of an environment that begin as those of flags do and
// are of none.
func (c *Config) UnknownVariables(environ []string) (unknown []string) {
	for _, kv := range environ {
		name, _, _ := strings.Cut(kv, "=")
		known := !strings.HasPrefix(name, "CISTERN_") || name == variable("config")
		for flag := range c.file.known {
			known = known || variable(flag) == name
		}
		if !known {
			unknown = append(unknown, name)
		}
	}
	slices.Sort(unknown)
	return unknown
}
