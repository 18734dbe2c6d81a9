package main

import (
	"os"
	"runtime/debug"
)

// gcPercent is how much the heap may grow before it is collected, instead of Go's
// 100; docs/decisions/0009-memory.md says what that costs.
const gcPercent = 50

// tuneMemory sets the collector's pace, unless the operator did (GOGC).
func tuneMemory() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
}
