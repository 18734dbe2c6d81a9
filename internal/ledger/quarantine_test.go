package ledger

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
)

// tell makes hosts send frames that are dropped, a second apart.
func tell(t testing.TB, l *Ledger, c *clock, reason string, host int, raw []byte) {
	c.pass(t, l, time.Second)
	l.Host(hostName(host)).Refused(Dropped, reason, Frame{DID: "did:plc:x", Seq: uint64(len(raw)), Raw: raw})
}

func TestTheNewestDroppedFramesAreKept(t *testing.T) {
	c := newClock()
	l := open(t, Options{Now: c.now})
	raw := []byte("the frame")
	tell(t, l, c, "bad_signature", 1, raw)
	raw[0] = 'X' // the buffer is used again
	tell(t, l, c, "op_form", 2, []byte("another"))
	l.Host("a").Refused(Ignored, "rev_old", Frame{Raw: []byte("ignored")})
	list := l.Quarantine().List("")
	if len(list) != 2 || list[0].Reason != "op_form" {
		t.Fatalf("%+v", list)
	}
	got := *list[1]
	got.Index = 0
	same(t, got, Quarantined{
		Reason: "bad_signature", Host: hostName(1), DID: "did:plc:x", Seq: 9, Size: 9, Raw: []byte("the frame"),
		Time: noon.Add(10*time.Minute + time.Second),
	})
	if l := l.Quarantine().List("op_form"); len(l) != 1 || string(l[0].Raw) != "another" {
		t.Errorf("%+v", l)
	}
}

func TestAHostThatFloodsDoesNotPushOutOthers(t *testing.T) {
	c := newClock()
	l := open(t, Options{Now: c.now})
	for i := range 6 {
		tell(t, l, c, "bad", i, []byte{byte(i)})
	}
	for n := range 2000 { // host 99 lies without end, and always first in a second
		tell(t, l, c, "bad", 99, []byte{99, byte(n)})
		if n > 1 && n%100 == 0 { // and one more host still gets in
			l.Host(hostName(100+n)).Refused(Dropped, "bad", Frame{Raw: []byte("late")})
		}
	}
	of := map[string]int{}
	for _, k := range l.Quarantine().List("bad") {
		of[k.Host]++
	}
	if of[hostName(99)] != keptAHost {
		t.Errorf("%d frames of the flood are kept", of[hostName(99)])
	}
	if of[hostName(2000)] != 1 && of[hostName(100+1900)] != 1 {
		t.Errorf("a host that lied once beside the flood is not there: %v", of)
	}
	if len(of) < keptAReason-1 {
		t.Errorf("%d hosts are there: %v", len(of), of)
	}
	newest := l.Quarantine().List("bad")
	for _, k := range newest {
		if k.Host == hostName(99) && c.now().Sub(k.Time) > (keptAHost+1)*keepAgain*time.Second {
			t.Errorf("the flood's frames are not renewed: one is of %v", k.Time)
		}
	}
}

func TestAFullShelfGivesUpAFrameOfTheHostThatHasMost(t *testing.T) {
	c := newClock()
	l := open(t, Options{Now: c.now})
	for range 2 {
		for i := range keptAReason / 2 {
			tell(t, l, c, "bad", i, nil)
		}
	}
	for i := range keptAReason / 2 {
		tell(t, l, c, "bad", 100+i, nil)
	}
	hosts := map[string]bool{}
	for _, k := range l.Quarantine().List("bad") {
		hosts[k.Host] = true
	}
	if len(hosts) != keptAReason {
		t.Errorf("%d hosts of %d are there", len(hosts), keptAReason)
	}
}

func TestTheQuarantineIsBoundedInBytesAndTheLargestSenderPays(t *testing.T) {
	c := newClock()
	l := open(t, Options{Now: c.now, QuarantineBytes: 10 << 20})
	tell(t, l, c, "bad", 1, []byte("small"))
	large := make([]byte, 1<<20+100)
	for i := range 60 { // two large frames for each of many reasons
		tell(t, l, c, fmt.Sprintf("reason_%d", i/2), 99, large[:1<<20+i])
		if got := l.quarantine.bytes; got > 10<<20 {
			t.Fatalf("%d bytes are kept", got)
		}
	}
	list := l.Quarantine().List("")
	if len(list) < 9 || len(list) > 11 {
		t.Errorf("%d frames are kept", len(list))
	}
	if last := list[len(list)-1]; last.Host != hostName(1) || string(last.Raw) != "small" {
		t.Errorf("the small host's frame was pushed out: %+v", last.Host)
	}
	if k := list[0]; !k.Truncated || len(k.Raw) != maxKept || k.Size != 1<<20+59 {
		t.Errorf("%d of %d bytes are kept, truncated %v", len(k.Raw), k.Size, k.Truncated)
	}
}

func TestALongDIDIsCut(t *testing.T) {
	c := newClock()
	l := open(t, Options{Now: c.now})
	l.Host("a").Refused(Dropped, "bad_did", Frame{DID: strings.Repeat("d", 1<<20)})
	if k := l.Quarantine().List(""); len(k) != 1 || len(k[0].DID) != maxKeptDID {
		t.Errorf("%+v", k)
	}
}

func TestCopyingIsBoundedToOnceASecondAReason(t *testing.T) {
	c := newClock()
	l := open(t, Options{Now: c.now})
	for range 3 {
		for i := range 50 {
			for range 50 {
				l.Host(hostName(i)).Refused(Dropped, "bad", Frame{Raw: []byte("x")})
			}
		}
		c.pass(t, l, time.Second)
	}
	if kept := counter(t, l.metrics.kept); kept != 3 {
		t.Errorf("%v frames were copied in 3 s", kept)
	}
}

func TestNoQuarantineKeepsNothing(t *testing.T) {
	l := open(t, Options{QuarantineBytes: -1})
	l.Host("a").Refused(Dropped, "bad", Frame{})
	if k := l.Quarantine().List(""); k == nil || len(k) != 0 {
		t.Errorf("%+v", k)
	}
}

func TestManyHostsAtOnceAreKeptInOrder(t *testing.T) {
	c := newClock()
	l := open(t, Options{Now: c.now})
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			for n := range 500 {
				l.Host(hostName(i)).Refused(Dropped, fmt.Sprint("reason_", n%5), Frame{Raw: []byte("x")})
				if n%50 == 0 {
					c.pass(t, l, time.Second)
				}
				l.Quarantine().List("reason_1")
			}
		})
	}
	wg.Wait()
	for _, k := range l.Quarantine().List("") {
		if string(k.Raw) != "x" {
			t.Errorf("%+v", k)
		}
	}
}
