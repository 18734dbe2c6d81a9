package main

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
)

// machine describes where the figures come from.
func machine() string {
	return fmt.Sprintf("%s, %d cores, %s of memory, Linux %s, %s", cpuModel(), runtime.NumCPU(), memory(), oneLine("/proc/sys/kernel/osrelease"), runtime.Version())
}

// loadAverage is over 1, 5 and 15 minutes.
func loadAverage() string {
	f := strings.Fields(oneLine("/proc/loadavg"))
	return strings.Join(f[:min(3, len(f))], " ")
}

func cpuModel() string { return field("/proc/cpuinfo", "model name") }

func memory() string {
	kb, err := strconv.ParseFloat(strings.TrimSuffix(field("/proc/meminfo", "MemTotal"), " kB"), 64)
	if err != nil {
		return "unknown size"
	}
	return fmt.Sprintf("%.0f GB", kb*1024/1e9)
}

// field returns the first value of a name in a file of "name: value" lines.
func field(path, name string) string {
	for line := range strings.Lines(oneFile(path)) {
		if k, v, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(k) == name {
			return strings.TrimSpace(v)
		}
	}
	return "unknown"
}

func oneLine(path string) string { return strings.TrimSpace(oneFile(path)) }

// oneFile reads a file whose absence only makes the description poorer.
func oneFile(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return "unknown"
	}
	return string(b)
}
