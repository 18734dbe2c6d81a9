package main

import "context"

// announcement is what the upstream process says of itself, as a line of JSON, when
// it listens.
type announcement struct {
	PLC    string   `json:"plc"`
	Hosts  []string `json:"hosts"` // host:port
	Events int      `json:"events"`
	Bytes  int64    `json:"bytes"` // of all frames
}

// The lines that follow it.
const (
	lineSubscribed = "subscribed" // by it: every host has a subscriber
	linePublish    = "publish"    // to it: send everything
)

// upstream is the process that plays the hosts and the PLC directory.
type upstream struct {
	*talker
	announcement
}

// startUpstream starts the hosts over a file of frames; nothing of it is published.
func startUpstream(ctx context.Context, dir, file string) (*upstream, error) {
	t, err := startTalker("upstream", dir, "upstream", file)
	if err != nil {
		return nil, err
	}
	u := &upstream{talker: t}
	if err := u.answer(ctx, "listening", &u.announcement); err != nil {
		u.end()
		return nil, err
	}
	return u, nil
}

// subscribed waits until every host has a subscriber.
func (u *upstream) subscribed(ctx context.Context) error { return u.expect(ctx, lineSubscribed) }

// publish makes the hosts send everything, as fast as it is taken.
func (u *upstream) publish() error { return u.tell(linePublish) }
