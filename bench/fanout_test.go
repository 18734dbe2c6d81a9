package main

import (
	"bufio"
	"bytes"
	"regexp"
	"strings"
	"testing"
	"time"
)

func TestAFanOutFindsEveryFigureOfARealRelay(t *testing.T) {
	c, err := built()
	if err != nil {
		t.Fatal(err)
	}
	o := fanoutDefaults()
	o.spec.Hosts, o.spec.Accounts, o.spec.Records, o.spec.Rate = 3, 2, 10, 200
	o.consumers, o.samples, o.cistern, o.lasting, o.work, o.markdown = 12, 3, c.path, time.Second, t.TempDir(), true
	var one fanoutSample
	if err := o.inWorkDir(t.Context(), func(dir string, c *cistern) (err error) {
		one, err = o.fanoutOnce(t.Context(), c, dir+"/fanout")
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if one.Events < 12*50 || one.Closed > 0 || one.P50 <= 0 || one.P99 < one.P50 || one.Fewest < 50 || one.cpu <= 0 || one.alone <= 0 || one.sent <= 0 {
		t.Errorf("%+v", one)
	}
	var out strings.Builder
	if err := o.reportFanout(&out, []string{"Cistern"}, [][]fanoutSample{{one}}, "1 2 3"); err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`(?m)^\| consumers that ended \| 0 \(0–0\) \|$`).MatchString(out.String()) {
		t.Errorf("no such row in the section:\n%s", out.String())
	}
	nothingLeft(t, options{work: o.work})
}

func TestAMessageIsPutTogetherFromItsFragmentsAndPingsAreNone(t *testing.T) {
	wire := []byte("\x02\x03abc\x89\x01p\x80\x02de\x82\x01x")
	r := bufio.NewReader(&prefixed{wire[:4], bytes.NewReader(wire[4:])})
	for _, want := range []string{"abcde", "x"} {
		if got, err := readMessage(r); err != nil || string(got) != want {
			t.Fatalf("%q, %v; want %q", got, err, want)
		}
	}
	if _, err := readMessage(r); err == nil {
		t.Fatal("a message after the last one")
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
