package ship

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestShippingTakesNoMoreThanItsRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const perSecond, size = 1 << 20, 10 << 20
		content := bytes.Repeat([]byte("0123456789abcdef"), size/16)
		l := &limited{t.Context(), bytes.NewReader(content), newLimit(perSecond)}
		got := make([]byte, size)
		began := time.Now()
		for off := 0; off < size; off += 1 << 20 { // as an uploader asks
			if n, err := l.ReadAt(got[off:off+1<<20], int64(off)); err != nil || n != 1<<20 {
				t.Fatal(n, err)
			}
		}
		took := time.Since(began)
		if least := time.Duration(size-shipPiece) * time.Second / perSecond; took < least || took > least+time.Second {
			t.Errorf("%d bytes at %d a second took %s", size, perSecond, took)
		}
		if !bytes.Equal(got, content) {
			t.Error("other bytes than those of the file")
		}
	})
}

func TestAShipmentThatIsGivenUpDoesNotWaitForItsRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		l := &limited{ctx, bytes.NewReader(make([]byte, 1<<20)), newLimit(1)}
		began := time.Now()
		if _, err := l.ReadAt(make([]byte, 1<<20), 0); err == nil || errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		if took := time.Since(began); took > time.Minute {
			t.Errorf("it took %s", took)
		}
	})
}

func TestWithoutARateNothingIsLimited(t *testing.T) {
	if newLimit(0) != nil {
		t.Fatal("a limit of 0")
	}
}
