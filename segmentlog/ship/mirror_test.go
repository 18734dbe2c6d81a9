package ship

import (
	"context"
	"errors"
	"sync"
	"testing"
)

func TestACopyInTheArchiveFollowsItsFileHoweverWritesFail(t *testing.T) {
	m := newMemory()
	w := mustStart(t, options(m, t.TempDir()))
	defer w.stop()
	var mu sync.Mutex
	content, copied := []byte(nil), make(chan struct{}, 100)
	failures := 2
	m.Mu.Lock()
	m.After = func(call string) error {
		if call != "create "+OperatorKey && call != "replace "+OperatorKey {
			return nil
		}
		copied <- struct{}{}
		if failures--; failures >= 0 { // it was written, and the answer lost
			return errors.New("the answer was lost")
		}
		return nil
	}
	m.Mu.Unlock()
	mirror := NewMirror(w.archive, OperatorKey, func() ([]byte, error) {
		mu.Lock()
		defer mu.Unlock()
		return append([]byte(nil), content...), nil
	}, quiet())
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); mirror.Run(ctx) }()
	for _, line := range []string{"one\n", "two\n", "three\n"} {
		mu.Lock()
		content = append(content, line...)
		mu.Unlock()
		mirror.Wake()
		<-copied
		if got, err := ReadMirrored(t.Context(), m, OperatorKey); err != nil || string(got) != string(content) {
			t.Errorf("%q, %v, not %q", got, err, content)
		}
	}
	cancel()
	<-done
	if got, err := ReadMirrored(t.Context(), newMemory(), OperatorKey); got != nil || err != nil {
		t.Errorf("of nothing: %q, %v", got, err)
	}
}
