// Package await waits in tests for what runs beside them.
package await

import (
	"testing"
	"time"
)

// Until waits for a condition, which it asks every millisecond, and fails the test when
// that takes longer than patience. what names it in the failure.
func Until(t testing.TB, patience time.Duration, what string, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(patience); !cond(); {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("waited %v for %s", patience, what)
		}
	}
}
