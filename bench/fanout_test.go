package main

import (
	"context"
	"regexp"
	"strings"
	"testing"
	"time"
)

// tinyFanout is a run that takes a moment.
func tinyFanout(t *testing.T, command string) fanoutOptions {
	c, err := built()
	if err != nil {
		t.Fatal(err)
	}
	o := fanoutDefaults(command)
	o.spec.Hosts, o.spec.Accounts, o.spec.Records, o.spec.Rate = 2, 3, 10, 100
	o.cistern, o.rounds, o.lasting, o.work, o.markdown, o.peer = c.path, 1, time.Second, t.TempDir(), true, ""
	o.consumers, o.listeners = 12, 2
	return o
}

func TestAFanOutFindsEveryFigureOfARealRelay(t *testing.T) {
	o := tinyFanout(t, "fanout")
	var one fanoutSample
	if err := o.inWorkDir(t.Context(), func(dir string, c *cistern) (err error) {
		one, err = o.fanoutOnce(t.Context(), c, dir+"/fanout")
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if one.alone.events <= 0 || one.with.events <= 0 || one.alone.cpu <= 0 || one.with.cpu <= one.alone.cpu/2 || one.peak <= 0 {
		t.Errorf("%+v", one)
	}
	if least := one.with.events * o.consumers / 2; one.deliveries < least {
		t.Errorf("%d deliveries of %d events to %d consumers", one.deliveries, one.with.events, o.consumers)
	}
	if len(one.age.took) < one.with.events || one.age.at(0) <= 0 {
		t.Errorf("%d ages of %d events, the least %.3f ms", len(one.age.took), one.with.events, one.age.at(0))
	}
	if one.atLast.events == 0 || one.atLast.missed > 0 || one.atLast.gone > 0 || one.atLast.behind > 0 {
		t.Errorf("in the end %+v", one.atLast)
	}
	var out strings.Builder
	if err := o.reportFanout(&out, []subject{&cistern{}}, [][]fanoutSample{{one}}, "1 2 3"); err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`(?m)^\| events missed, all consumers \| 0 \(0–0\) \|$`).MatchString(out.String()) {
		t.Errorf("no missed events in the section:\n%s", out.String())
	}
	nothingLeft(t, options{work: o.work})
}

// tinySlow is a run among slow consumers that takes a moment.
func tinySlow(t *testing.T) slowOptions {
	o := slowDefaults()
	o.fanoutOptions = tinyFanout(t, "slow")
	o.consumers, o.lasting, o.before, o.pause, o.crawl, o.deaf = o.listeners, 2*time.Second, time.Second, time.Second, 5, 4
	return o
}

func TestARunAmongSlowConsumersFindsThemLateAndNothingMissed(t *testing.T) {
	o := tinySlow(t)
	var one slowSample
	if err := o.inWorkDir(t.Context(), func(dir string, c *cistern) (err error) {
		one, err = o.slowOnce(t.Context(), c, dir+"/slow")
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if err := one.judge(); err != nil {
		t.Error(err)
	}
	if one.held != o.deaf || len(one.before.age.took) == 0 || len(one.beside.age.took) == 0 || one.before.peak <= 0 || one.beside.peak <= 0 {
		t.Errorf("%+v", one)
	}
	var out strings.Builder
	if err := o.reportTable(&out, o.slowTable(one), "slow", "1 2 3"); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "| still connected, of those that never read |  | 4 |") {
		t.Errorf("no deaf consumers in the section:\n%s", out.String())
	}
	nothingLeft(t, options{work: o.work})
}

func TestAConsumerThatMissedOrWasDroppedFailsARunAmongSlowOnes(t *testing.T) {
	fine := slowSample{lag: 1, lagPause: 1}
	if err := fine.judge(); err != nil {
		t.Fatal(err)
	}
	for what, spoil := range map[string]func(*slowSample){
		"a good one missed":       func(s *slowSample) { s.missed[0] = 1 },
		"the slow one missed":     func(s *slowSample) { s.missed[1] = 1 },
		"the paused one missed":   func(s *slowSample) { s.missed[2] = 1 },
		"one was dropped":         func(s *slowSample) { s.gone = 1 },
		"the slow one kept up":    func(s *slowSample) { s.lag = 0 },
		"the pause was not a lag": func(s *slowSample) { s.lagPause = 0 },
	} {
		s := fine
		spoil(&s)
		if s.judge() == nil {
			t.Errorf("%s, and it was taken", what)
		}
	}
}

// A relay that closes a connection after three events of five.
func TestAnAudienceCountsWhatAConsumerThatIsGoneMissed(t *testing.T) {
	const answer = "HTTP/1.1 101 Switching Protocols\r\n\r\n" + "\x82\x01a\x82\x01b\x82\x01c"
	a, err := seatAudience(t.Context(), fakeRelay(t, []byte(answer)), 1)
	if err != nil {
		t.Fatal(err)
	}
	defer a.end()
	eventually(t, func() bool { return a.attendance(5).gone == 1 })
	if got, want := a.attendance(5), (attendance{events: 3, gone: 1, missed: 2}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

func TestAFanOutThatTheMachineCannotHoldIsRefused(t *testing.T) {
	for _, args := range [][]string{{"-consumers", "100000000"}, {"-consumers", "3"}, {"-listeners", "0"}, {"-peer", "x"}, {"-for", "0s"}, {"x"}} {
		if err := runFanout(t.Context(), "fanout", args); err == nil {
			t.Errorf("%v was taken", args)
		}
	}
	for _, args := range [][]string{{"-deaf", "100000000"}, {"-pause", "4m"}, {"-crawl", "0"}, {"-before", "0s"}} {
		if err := runSlow(t.Context(), args); err == nil {
			t.Errorf("slow %v was taken", args)
		}
	}
}

func TestMoreFlagsForTheRelayReachIt(t *testing.T) {
	o := tinyFanout(t, "fanout")
	o.relay = "--no-such-flag 1"
	err := o.inWorkDir(t.Context(), func(dir string, c *cistern) error {
		return o.fanout(context.WithoutCancel(t.Context()), dir, c)
	})
	if err == nil || !strings.Contains(err.Error(), "no-such-flag") {
		t.Fatalf("error %v", err)
	}
}

func TestAQuantileIsTheBoundOfItsBucket(t *testing.T) {
	before := []bucket{{1, 10}, {2, 20}, {5, 20}}
	after := []bucket{{1, 10}, {2, 69}, {5, 70}}
	for q, want := range map[float64]float64{0.5: 2, 0.97: 2, 0.99: 5} {
		if got := quantileBetween(before, after, q); got != want {
			t.Errorf("quantile %v is %v, want %v", q, got, want)
		}
	}
	if got := quantileBetween(before, before, 0.5); got != 0 {
		t.Errorf("of nothing: %v", got)
	}
}
