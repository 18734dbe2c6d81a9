package ingest

import (
	"bytes"
	"testing"
	"time"

	"github.com/cistern-archive/cistern/internal/frame"
	"github.com/cistern-archive/cistern/internal/netsim"
)

func TestHowFarTheLogIsBehindIsTheMiddleOfWhatCame(t *testing.T) {
	now := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	var b behind
	if got := b.age(now, true); got != 0 {
		t.Errorf("nothing came: %v", got)
	}
	for i := range 2 * agesKept {
		written := now.Add(-2 * time.Second)
		if i%3 == 0 { // hosts whose clocks are wrong
			written = now.Add(-40 * time.Hour)
		}
		b.note(&frame.Event{Time: written.Format(time.RFC3339Nano)}, now)
	}
	b.note(&frame.Event{Time: "soon"}, now)
	if got := b.age(now.Add(time.Minute), false); got != 2*time.Second {
		t.Errorf("%v, want 2 s, however long nothing came", got)
	}
	if got := b.age(now.Add(time.Minute), true); got != time.Minute+2*time.Second {
		t.Errorf("%v, want what waits to count", got)
	}
	b.heard(70)
	b.heard(50)
	if got := b.events(60); got != 10 {
		t.Errorf("%d events, want 10", got)
	}
	if got := b.events(80); got != 0 {
		t.Errorf("%d events, want none", got)
	}
}

func TestARelayIsAskedHowFarItIs(t *testing.T) {
	n := newNet(t, netsim.Options{Hosts: 1, Accounts: 5})
	f, log := newFakeRelay(t), &memLog{}
	frames := hostFrames(t, n, 20)
	for i, raw := range frames[:10] {
		f.send(t, uint64(i+1), raw)
	}
	r := newRig(t, n.PLCURL(), log, nil)
	r.addRelay(f.URL, log.keep())
	r.logged(10)
	large := renumbered(frames[10], 77) // one that needs memory of its own
	large = append(large, bytes.Repeat([]byte{0}, 2*minBuffer)...)
	asked := make(chan error, 1)
	var tip uint64
	go func() {
		var err error
		tip, err = r.m.hosts[f.name].relay.askTip(t.Context())
		asked <- err
	}()
	until(t, "the question", func() bool { f.mu.Lock(); defer f.mu.Unlock(); return f.live > 0 })
	f.sendRaw(77, large) // which is no event, for what follows it
	if err := <-asked; err == nil {
		t.Error("a frame that cannot be read is a tip")
	}
	f.set(func() { f.live = 0 })
	go func() {
		var err error
		tip, err = r.m.hosts[f.name].relay.askTip(t.Context())
		asked <- err
	}()
	until(t, "the question", func() bool { f.mu.Lock(); defer f.mu.Unlock(); return f.live > 0 })
	f.send(t, 78, frames[11])
	if err := <-asked; err != nil || tip != 78 {
		t.Errorf("%d, %v, want 78", tip, err)
	}
}
