package identity

import (
	"context"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cistern-archive/cistern/internal/rogue"
)

// A server that serves documents may break every rule of the wire.
func TestAServerOfDocumentsIsBoundedWhateverItDoes(t *testing.T) {
	const patience = 5 * time.Second
	for _, kind := range rogue.Kinds() {
		synctest.Test(t, func(t *testing.T) {
			h, err := rogue.New(kind, rogue.Options{})
			if err != nil {
				t.Fatal(err)
			}
			c := newHTTP(func(context.Context, string, string) (net.Conn, error) {
				ours, theirs := net.Pipe()
				go h.Play(theirs)
				return ours, nil
			}, nil, 1)
			defer c.CloseIdleConnections()
			f := &fetcher{timeout: patience, now: time.Now}
			began := time.Now()
			body, err := f.get(t.Context(), c, "did:web:rogue.example", "http://rogue.example/.well-known/did.json", maxDocument)
			if took := time.Since(began); took > patience || (err != nil) != kind.Early() {
				t.Errorf("%s: %.20q, %v after %v", kind, body, err, took)
			}
			if n := h.Count(); kind.Early() && n.Fired == 0 {
				t.Errorf("%s: %+v", kind, n)
			}
		})
	}
}
