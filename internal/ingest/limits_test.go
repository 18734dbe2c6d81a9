package ingest

import (
	"bytes"
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/cistern-archive/cistern/internal/rogue"
)

// readFrom connects to a host that says raw bytes after the upgrade, and reads one
// message.
func readFrom(t *testing.T, raw []byte) (m *message, fits bool, err error) {
	t.Helper()
	ours, theirs := net.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer theirs.Close()
		if _, err := answerUpgrade(theirs); err != nil {
			return
		}
		gone := make(chan struct{})
		go func() {
			defer close(gone)
			drainBytes(theirs)
		}()
		_, _ = theirs.Write(raw) // as far as it is read
		<-gone
	}()
	defer func() {
		ours.Close()
		<-done
	}()
	up, err := connectOver(ours)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = up.finish(ErrStopped) }()
	if err := up.next(); err != nil {
		return nil, false, err
	}
	m = &message{buf: make([]byte, 0, minBuffer)}
	up.large = &share{b: &budget{limit: 4 * maxFrame}}
	fits, err = up.read(t.Context(), m)
	return m, fits, err
}

// connectOver opens a host's stream over a connection.
func connectOver(c net.Conn) (*upstream, error) {
	d := dialer{opts: DialOptions{DialTrusted: func(context.Context, string, string) (net.Conn, error) { return c, nil }}}
	d.opts.ensureDefaults()
	return d.connect(context.Background(), &address{name: "pds.example", trusted: true}, 0)
}

// inFragments is a binary message in fragments of a size, n of them and a last one.
func inFragments(size, n int) []byte {
	one := func(first byte) []byte {
		head := []byte{first, byte(size)}
		if size > 125 {
			head = []byte{first, 126, byte(size >> 8), byte(size)}
		}
		return append(head, make([]byte, size)...)
	}
	return append(append(one(0x02), bytes.Repeat(one(0x00), n-1)...), one(0x80)...)
}

func TestAMessageMayComeInPiecesButNotInAnyNumber(t *testing.T) {
	for _, c := range []struct {
		size, n int
		want    error
	}{
		{0, 1000, nil},
		{1, 10_000, nil},
		{2, 1_000_000, nil},
		{4096, 1000, nil},
		{0, maxFraming, errFragments},
		{1, 2 * maxFraming, errFragments},
	} {
		m, fits, err := readFrom(t, inFragments(c.size, c.n))
		if !errors.Is(err, c.want) {
			t.Errorf("%d fragments of %d bytes: %v, want %v", c.n, c.size, err, c.want)
		}
		if c.want == nil && (!fits || len(m.buf) != c.size*(c.n+1)) {
			t.Errorf("%d fragments of %d bytes: %d bytes, fits %v", c.n, c.size, len(m.buf), fits)
		}
	}
}

func TestPingsAndPongsAreBoundedTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for n, want := range map[int]error{controlsAtOnce / 2: nil, controlsAtOnce/2 + 1: errControls} {
			raw := append(bytes.Repeat([]byte{0x89, 0, 0x8a, 0}, n), inFragments(1, 1)...)
			if _, _, err := readFrom(t, raw); !errors.Is(err, want) {
				t.Errorf("%d of each: %v, want %v", n, err, want)
			}
			synctest.Wait()
		}
	})
}

func TestAnExtensionThatWasNotOfferedIsRefused(t *testing.T) {
	h := newRogue(t, rogue.Compressed, rogue.Options{})
	ours, theirs := net.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		h.Play(theirs)
	}()
	up, err := connectOver(ours)
	if err == nil {
		_ = up.finish(ErrStopped)
	}
	<-done
	if !errors.Is(err, errExtension) || h.Count().Fired == 0 {
		t.Errorf("%v, want %v; %+v", err, errExtension, h.Count())
	}
}

// What a host is told of it must fit into a close frame.
func TestReasonsToEndAConnectionFitIntoACloseFrame(t *testing.T) {
	for _, err := range []error{errText, errOversized, errEndless, errSilent, errSlow, errBadSeq, errBackwards, errNoRoom, errFragments, errControls} {
		if len(err.Error()) > maxCloseReason || closeReason(err) == "" || strings.ToLower(closeReason(err)) != closeReason(err) {
			t.Errorf("%q is counted as %q", err, closeReason(err))
		}
	}
}
