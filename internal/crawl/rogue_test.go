package crawl

import (
	"context"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cistern-archive/cistern/internal/rogue"
)

// A stranger's host may break every rule of the wire when it is asked what it is.
func TestAHostThatIsValidatedIsBoundedWhateverItDoes(t *testing.T) {
	for _, kind := range rogue.Kinds() {
		synctest.Test(t, func(t *testing.T) {
			h, err := rogue.New(kind, rogue.Options{})
			if err != nil {
				t.Fatal(err)
			}
			var o Options
			o.Dial.DialTrusted = func(context.Context, string, string) (net.Conn, error) {
				ours, theirs := net.Pipe()
				go h.Play(theirs)
				return ours, nil
			}
			began := time.Now()
			err = newProber(&o).check(t.Context(), newAsked("rogue.example", true, true))
			if took := time.Since(began); took > probeTimeout || (err != nil) != kind.Early() {
				t.Errorf("%s: %v after %v", kind, err, took)
			}
			if n := h.Count(); kind.Early() && n.Fired == 0 {
				t.Errorf("%s: %+v", kind, n)
			}
		})
	}
}
