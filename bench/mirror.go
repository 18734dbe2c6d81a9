package main

import (
	"context"
	"slices"
)

// mirror is Cistern that takes its upstream for a relay.
type mirror struct {
	*cistern
	as    string
	flags []string
}

func (m *mirror) name() string { return m.as }

func (m *mirror) start(ctx context.Context, dir string, from *upstream) (*relay, error) {
	flags := slices.Concat(m.cistern.flags, m.flags, []string{"--plc-host", from.PLC, "--plc-rate", "0"})
	for _, h := range from.Hosts {
		flags = append(flags, "--upstream-relay", "http://"+h)
	}
	c := &cistern{path: m.path, flags: flags}
	return c.launchCounted(ctx, dir, "cistern_log_events_total")
}
