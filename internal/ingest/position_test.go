package ingest

import (
	"errors"
	"testing"

	"github.com/gorilla/websocket"

	"github.com/cistern-archive/cistern/internal/frame"
	"github.com/cistern-archive/cistern/segmentlog"
)

func TestAHostIsReadOnFromTheFloorInTheLog(t *testing.T) {
	s := newStage(t, func(i int, c *websocket.Conn) {
		if i == 0 {
			send(c, accountFrame(1), accountFrame(4), accountFrame(9))
		}
		drain(c)
	})
	r := stageRig(t, s, nil)
	r.hasSeqs(1, 4, 9)
	r.stop()
	again := newRig(t, "http://127.0.0.1:1", r.log, func(o *Options) { o.Resolver = believer{s.name()} })
	again.addHosts(s.URL)
	until(t, "the second connection", func() bool { return s.connections() == 2 })
	if s.cursor(1) != "4" {
		t.Errorf("read on from cursor %s, want 4", s.cursor(1))
	}
}

// An event that was left undecided must not be followed by a later one of its account,
// even when the log has room again.
func TestNothingIsAppendedOnceStopHasGivenUp(t *testing.T) {
	log := &memLog{}
	r := newRig(t, "http://127.0.0.1:1", log, nil)
	r.stop()
	ev := frame.NewAccount(alice, r.m.opts.Now(), true, "")
	if _, ok := r.m.append(&segmentlog.Entry{DID: alice, Head: ev.Head, Tail: ev.Tail}); ok || len(log.all()) != 0 {
		t.Error("an event was appended after the end")
	}
	if r.m.Err() != nil {
		t.Errorf("that counts as a failure of the log: %v", r.m.Err())
	}
	if err := r.m.AddHost("https://pds.example.com", false); !errors.Is(err, ErrStopped) {
		t.Errorf("AddHost after Stop: %v, want ErrStopped", err)
	}
}

func TestWhatFollowsAnAbandonedEventIsNotDecided(t *testing.T) {
	log := &memLog{}
	r := newRig(t, "http://127.0.0.1:1", log, func(o *Options) { o.Resolver = believer{"pds.example"} })
	h := newHost(r.m, address{name: "pds.example", trusted: true}, Position{})
	waits := &queue{did: alice, items: []*waiting{{}}}
	h.queues.m[alice] = waits
	h.queues.n.Add(1)
	h.queues.abandon(waits)
	m := getMessage()
	m.buf = append(m.buf[:0], accountFrame(5)...)
	kept, err := (&reader{h: h, win: h.window()}).take(t.Context(), m)
	if kept || !errors.Is(err, ErrStopped) || len(log.all()) != 0 || h.window().floor() != 0 {
		t.Errorf("kept %v, %v, %d records, floor %d; want nothing done", kept, err, len(log.all()), h.window().floor())
	}
}

func TestAnEventThatTheLogDidNotTakeIsNotDone(t *testing.T) {
	log := &memLog{}
	r := newRig(t, "http://127.0.0.1:1", log, func(o *Options) { o.Resolver = believer{"pds.example"} })
	h := newHost(r.m, address{name: "pds.example", trusted: true}, Position{Floor: 3})
	r.stop()
	m := getMessage()
	m.buf = append(m.buf[:0], accountFrame(5)...)
	kept, err := (&reader{h: h, win: h.window()}).take(t.Context(), m)
	if kept || !errors.Is(err, ErrStopped) || len(log.all()) != 0 {
		t.Errorf("kept %v, %v, %d records; want the end of all work", kept, err, len(log.all()))
	}
	if floor, cursor := h.window().floor(), h.window().cursor(); floor != 3 || cursor != 3 {
		t.Errorf("floor %d and cursor %d, want 3: the event is not in the log", floor, cursor)
	}
}

func TestANewEpochBeginsAtTheStart(t *testing.T) {
	r := newRig(t, "http://127.0.0.1:1", &memLog{}, nil)
	h := newHost(r.m, address{name: "pds.example", trusted: true}, Position{Epoch: 4, Floor: 90})
	old := h.window()
	h.newEpoch(old)
	if w := h.window(); w.epoch != 5 || w.cursor() != 0 || w.floor() != 0 || old.cursor() != 90 {
		t.Errorf("epoch %d from cursor %d and floor %d, want epoch 5 from 0", w.epoch, w.cursor(), w.floor())
	}
}
