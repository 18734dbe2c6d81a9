package main

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/cistern-archive/cistern/internal/rogue"
)

// tinyHostile is a run that takes a moment.
func tinyHostile(t *testing.T) hostileOptions {
	o := hostileDefaults()
	o.scaleOptions = tinyScale(t)
	o.each = 1
	return o
}

func TestARunAmongRoguesFindsEveryFigureOfARealRelay(t *testing.T) {
	o := tinyHostile(t)
	var halves [2]hostileSample
	if err := o.inWorkDir(t.Context(), func(dir string, c *cistern) (err error) {
		for each := range halves {
			if halves[each], err = o.hostileOnce(t.Context(), c, dir+"/hostile"+[]string{"0", "1"}[each], each); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	for each, s := range halves {
		if v := s.verdict; v.Events < 2*o.spec.Hosts || v.Matched != v.Events || v.Served != v.Events {
			t.Errorf("%d: verdict %+v", each, v)
		}
		if len(s.age.took) == 0 || s.age.took[0] <= 0 || len(s.health.took) == 0 || s.health.failed > 0 || s.cpu <= 0 || s.peak <= 0 || s.threads < 2 || s.events <= 0 {
			t.Errorf("%d: %+v", each, s)
		}
	}
	if halves[0].rogues != nil || !halves[1].rogues.fired() || halves[1].rogues.connections() < int64(len(rogue.Kinds())) {
		t.Errorf("rogues: %v and %v", halves[0].rogues, halves[1].rogues)
	}
	var out strings.Builder
	if err := o.reportHostile(&out, halves[:1], halves[1:], "1 2 3"); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`(?m)^\| … p99, ms \| [\d.]+ \([\d.]+–[\d.]+\) \| [\d.]+ \([\d.]+–[\d.]+\) \|$`,
		"(?m)^\\| `ping-flood` \\| [1-9][\\d,]* \\(.*\\) \\| [1-9][\\d,]* \\(.*\\) \\|$",
	} {
		if !regexp.MustCompile(want).MatchString(out.String()) {
			t.Errorf("no %s in the section:\n%s", want, out.String())
		}
	}
	nothingLeft(t, options{work: o.work})
}

func TestARunAmongNoRoguesIsRefused(t *testing.T) {
	if err := runHostile(t.Context(), []string{"-rogues", "0"}); err == nil {
		t.Error("it was taken")
	}
}

func TestAgesAreThoseOfASpanOfTime(t *testing.T) {
	l := &listener{arrivals: []arrival{{1, 9 * time.Millisecond}, {2, 7 * time.Millisecond}, {3, 8 * time.Millisecond}, {4, time.Hour}}}
	got, err := l.between(2, 4)
	if err != nil || len(got.took) != 2 || got.at(0.5) != 7 || got.at(1) != 8 {
		t.Errorf("%+v, %v", got, err)
	}
}
