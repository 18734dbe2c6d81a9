package ledger

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/cistern-archive/cistern/internal/frame"
)

func counter(t testing.TB, c prometheus.Metric) float64 {
	t.Helper()
	var m dto.Metric
	if err := c.Write(&m); err != nil {
		t.Fatal(err)
	}
	return m.GetCounter().GetValue() + m.GetGauge().GetValue()
}

// series gathers what the registry has, by name and host.
func series(t testing.TB, reg *prometheus.Registry) map[string]map[string]float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[string]map[string]float64)
	for _, f := range families {
		all[f.GetName()] = make(map[string]float64)
		for _, m := range f.GetMetric() {
			host := ""
			for _, l := range m.GetLabel() {
				host = l.GetValue()
			}
			all[f.GetName()][host] = m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return all
}

func TestSeriesAreBoundedAndNoCounterGoesBack(t *testing.T) {
	const hosts = 3000
	rng, c, reg := seeded(t), newClock(), prometheus.NewRegistry()
	l := open(t, Options{Now: c.now, Registerer: reg})
	all := make([]*Host, hosts)
	for i := range all {
		all[i] = l.Host(hostName(i))
	}
	l.Host(Other) // a host of that name shares the series
	var sent, accepted, dropped float64
	before := series(t, reg)
	for round := range 60 {
		busy := 100 * (round / 20) // others are busy every 200 s; those before and they are fewer than topHosts
		for i, h := range all {
			n := rng.IntN(3)
			if i >= busy && i < busy+15 {
				n = 50 + rng.IntN(50)
			}
			for range n {
				h.Received(1)
				sent++
				if rng.IntN(2) == 0 {
					h.Accepted(frame.Commit, 0)
					accepted++
				} else {
					h.Refused(Dropped, "bad", Frame{})
					dropped++
				}
			}
		}
		l.Host(Other).Received(1)
		sent++
		c.pass(t, l, 10*time.Second)
		now := series(t, reg)
		for name, byHost := range now {
			if len(byHost) > maxNamed+1 {
				t.Fatalf("%s has %d series", name, len(byHost))
			}
			for host, v := range byHost {
				if was := before[name][host]; v < was && name != "cistern_ledger_waiting_bytes" {
					t.Fatalf("%s{host=%q} went from %v to %v", name, host, was, v)
				}
			}
			for host := range before[name] {
				if _, ok := byHost[host]; !ok {
					t.Fatalf("%s{host=%q} is gone", name, host)
				}
			}
		}
		for name, want := range map[string]float64{
			"cistern_ingest_received_total": sent, "cistern_ingest_accepted_total": accepted, "cistern_ingest_dropped_total": dropped,
		} {
			sum := 0.0
			for _, v := range now[name] {
				sum += v
			}
			if sum != want {
				t.Fatalf("%s sums to %v, want %v", name, sum, want)
			}
		}
		before = now
	}
	received := before["cistern_ingest_received_total"]
	if len(received) <= topHosts+1 {
		t.Errorf("%d hosts have series", len(received))
	}
	for _, busy := range []int{0, 14, 100, 114} {
		if received[hostName(busy)] == 0 {
			t.Errorf("%s was busy and has no name", hostName(busy))
		}
	}
}

func TestAFewHostsAllHaveNames(t *testing.T) {
	c, reg := newClock(), prometheus.NewRegistry()
	l := open(t, Options{Now: c.now, Registerer: reg})
	for i := range 8 {
		l.Host(hostName(i)).Received(1)
	}
	l.Host("silent")
	c.pass(t, l, rankEvery)
	for i := range 8 {
		l.Host(hostName(i)).Received(1)
	}
	got := series(t, reg)["cistern_ingest_received_total"]
	if len(got) != 9 || got[Other] != 8 || got[hostName(5)] != 1 {
		t.Errorf("%v", got)
	}
}
