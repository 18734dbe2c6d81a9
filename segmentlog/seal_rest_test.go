package segmentlog

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

func TestSealingLeavesProcessorsToOthersUnlessFilesWait(t *testing.T) {
	for _, c := range []struct {
		worked time.Duration
		hurry  bool
		rests  time.Duration
	}{
		{sealSlice - 1, false, 0}, {sealSlice, false, sealRest * sealSlice}, {12 * time.Millisecond, false, 48 * time.Millisecond},
		{time.Second, false, maxSealRest}, {time.Second, true, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := &sealer{hurry: func() bool { return c.hurry }}
			began := time.Now()
			time.Sleep(c.worked)
			again := s.rest(t.Context(), began)
			if rested := time.Since(began) - c.worked; rested != c.rests {
				t.Errorf("after %s of work it rests %s, want %s", c.worked, rested, c.rests)
			}
			if counts := time.Since(again); counts != 0 && c.worked >= sealSlice || counts != c.worked && c.worked < sealSlice {
				t.Errorf("after %s of work %s count for the next rest", c.worked, counts)
			}
		})
	}
	synctest.Test(t, func(t *testing.T) { // a stop does not wait
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		began := time.Now()
		time.Sleep(time.Second)
		(&sealer{hurry: func() bool { return false }}).rest(ctx, began)
		if time.Since(began) != time.Second {
			t.Error("it rested though the log closes")
		}
	})
}
