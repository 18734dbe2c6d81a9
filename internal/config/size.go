package config

import (
	"fmt"
	"strconv"
	"strings"
)

var sizeUnits = []struct {
	suffix string
	bytes  int64
}{
	{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40},
	{"kB", 1e3}, {"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12}, {"B", 1}, {"", 1},
}

// ParseSize reads a number of bytes such as 256MiB, 50GB or 4096.
func ParseSize(s string) (int64, error) {
	for _, u := range sizeUnits {
		digits, ok := strings.CutSuffix(s, u.suffix)
		if !ok {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSpace(digits), 10, 64)
		if err != nil || n < 0 || n > (1<<62)/u.bytes {
			break
		}
		return n * u.bytes, nil
	}
	return 0, fmt.Errorf("%q is not a size such as 256MiB", s)
}

// size is a flag that was given a number of bytes.
type size struct {
	flag, given string
	least       string
	orZero      bool   // 0 has a meaning of its own
	to          *int64 // what it is
}

// readSizes reads what flags were given.
func readSizes(sizes ...size) error {
	for _, s := range sizes {
		n, err := ParseSize(s.given)
		if err != nil {
			return fmt.Errorf("--%s: %w", s.flag, err)
		}
		least, err := ParseSize(s.least)
		if err != nil {
			return err
		}
		if n < least && (n > 0 || !s.orZero) {
			return fmt.Errorf("--%s %s is below %s", s.flag, s.given, s.least)
		}
		*s.to = n
	}
	return nil
}
