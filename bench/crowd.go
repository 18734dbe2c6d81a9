package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"github.com/cistern-archive/cistern/internal/netsim"
)

// crowdSpec is the network that a crowd process plays.
type crowdSpec struct {
	Hosts, Accounts, Records int
	Rate                     float64 // events a second over all hosts
	Seed                     uint64
	TLS                      bool
	Addresses                int // of the loopback: a port of one address serves few connections
	Accidents                time.Duration
	Down                     time.Duration
	Kinds                    []netsim.Accident // nil: all
	Settled                  bool              // accounts neither come nor leave: what is sent does not depend on when
	Named                    bool              // hosts are called localhost, and have no backlog, which the reference relay does not ask for
}

// crowdAnnouncement is the first line of a crowd.
type crowdAnnouncement struct {
	PLC   string   `json:"plc"`
	Hosts []string `json:"hosts"` // URLs
	CA    string   `json:"ca,omitempty"`
}

// The commands to a crowd; each but the first four is answered with a line of JSON.
const (
	lineEmit      = "emit"      // events, from now on
	lineAccidents = "accidents" // likewise
	lineBlackout  = "blackout"  // every connection is reset at once
	lineBacklog   = "backlog"   // an event of every account, which all but a Named crowd have at the start
	lineCount     = "count"
	lineQuiet     = "quiet"   // no more of either; waits until all is sent
	lineCompare   = "compare" // and a relay's address
)

// crowdCount is the answer to count, and, with the accidents, to quiet.
type crowdCount struct {
	Events     int                                      `json:"events"`
	Returned   int                                      `json:"returned"`   // that have had one since the blackout
	Subscribed int                                      `json:"subscribed"` // hosts that have a subscriber
	Accidents  map[netsim.Accident]netsim.AccidentCount `json:"accidents,omitempty"`
	Err        string                                   `json:"err,omitempty"`
}

// crowdVerdict is the answer to compare.
type crowdVerdict struct {
	Events  int    `json:"events"` // that the relay must have
	Served  int    `json:"served"`
	Matched int    `json:"matched"`
	Err     string `json:"err,omitempty"`
}

// crowdProcess is the inside of the process.
type crowdProcess struct {
	net       *netsim.Network
	spec      crowdSpec
	emitting  sync.WaitGroup
	suffering sync.WaitGroup
	stopEmit  context.CancelFunc
	stopHurt  context.CancelFunc
	joined    map[*netsim.Host]int // subscribers that there were before the blackout

	mu     sync.Mutex
	err    error
	counts map[netsim.Accident]netsim.AccidentCount
}

// serveCrowd is the crowd process: hosts, a PLC directory, accidents.
func serveCrowd(ctx context.Context, args []string) error {
	c := new(crowdProcess)
	if len(args) != 1 || json.Unmarshal([]byte(args[0]), &c.spec) != nil {
		return fmt.Errorf("crowd takes one argument, its description as JSON: %q", args)
	}
	o := netsim.Options{
		Seed: c.spec.Seed, Hosts: c.spec.Hosts, Accounts: c.spec.Accounts, Records: c.spec.Records,
		TLS: c.spec.TLS, Settled: c.spec.Settled, WallClock: true, Logger: slog.New(slog.NewTextHandler(os.Stderr, nil)),
	}
	for i := range max(c.spec.Addresses, 1) {
		o.Listen = append(o.Listen, fmt.Sprintf("127.0.0.%d", i+1))
	}
	var err error
	if c.net, err = netsim.New(o); err != nil {
		return err
	}
	defer c.net.Close()
	if !c.spec.Named {
		if err := c.backlog(); err != nil {
			return err
		}
	}
	if err := c.announce(); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c.stopEmit, c.stopHurt = func() {}, func() {}
	for sc := bufio.NewScanner(os.Stdin); sc.Scan(); {
		if err := c.obey(ctx, sc.Text()); err != nil {
			return err
		}
	}
	return nil
}

// backlog gives every account one event, so that a relay that starts finds something to
// read on every host, and so that the making of repositories is over by then.
func (c *crowdProcess) backlog() error {
	for _, h := range c.net.Hosts() {
		for _, a := range h.Accounts() {
			if _, err := h.Post(a); err != nil {
				return err
			}
		}
	}
	return nil
}

// announce says where everything is.
func (c *crowdProcess) announce() (err error) {
	a := crowdAnnouncement{PLC: c.net.PLCURL(), Hosts: c.net.HostURLs(), CA: string(c.net.CA())}
	if c.spec.Named {
		if a.PLC, err = servePLC(a.PLC); err != nil {
			return err
		}
		for i, h := range a.Hosts {
			a.Hosts[i] = strings.Replace(h, loopback, named, 1)
		}
	}
	return say(a)
}

func say(v any) error { return json.NewEncoder(os.Stdout).Encode(v) }

func (c *crowdProcess) obey(ctx context.Context, line string) error {
	name, arg, _ := strings.Cut(line, " ")
	switch name {
	case lineEmit:
		ctx, c.stopEmit = context.WithCancel(ctx)
		c.emitting.Go(func() { c.note(c.net.Run(ctx, c.spec.Rate)) })
	case lineAccidents:
		ctx, c.stopHurt = context.WithCancel(ctx)
		c.suffering.Go(func() {
			counts, err := c.net.Accidents(ctx, netsim.AccidentOptions{
				Seed: c.spec.Seed, Kinds: c.spec.Kinds, Every: c.spec.Accidents, Down: c.spec.Down,
			})
			c.note(err)
			c.mu.Lock()
			defer c.mu.Unlock()
			c.counts = counts
		})
	case lineBlackout:
		c.joined = make(map[*netsim.Host]int)
		for _, h := range c.net.Hosts() {
			c.joined[h] = h.Joined()
			h.Abort()
		}
	case lineBacklog:
		c.note(c.backlog())
	case lineCount:
		return say(c.count())
	case lineQuiet:
		return say(c.quiet(ctx))
	case lineCompare:
		return say(c.compare(ctx, arg))
	default:
		return fmt.Errorf("unknown command %q", line)
	}
	return nil
}

// note keeps the first error of what runs in the background.
func (c *crowdProcess) note(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		c.err = err
	}
}

func (c *crowdProcess) count() crowdCount {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := crowdCount{Events: c.net.Len(), Accidents: c.counts}
	if c.err != nil {
		out.Err = c.err.Error()
	}
	for _, h := range c.net.Hosts() {
		if h.Subscribers() > 0 {
			out.Subscribed++
		}
		if joined, ok := c.joined[h]; ok && h.Joined() > joined {
			out.Returned++
		}
	}
	return out
}

// quiet ends accidents, then events, and waits until every host has sent everything.
func (c *crowdProcess) quiet(ctx context.Context) crowdCount {
	c.stopHurt()
	c.suffering.Wait()
	c.stopEmit()
	c.emitting.Wait()
	ctx, cancel := context.WithTimeout(ctx, hostPatience)
	defer cancel()
	for _, h := range c.net.Hosts() {
		c.note(h.WaitSent(ctx))
	}
	return c.count()
}

// relayPatience is how long a relay may serve nothing before what it did not serve
// counts as lost.
const relayPatience = 30 * time.Second

// compare reads the relay's log from its beginning and holds it against the ledger.
func (c *crowdProcess) compare(ctx context.Context, addr string) crowdVerdict {
	ledger := c.net.Ledger()
	var v crowdVerdict
	for i := range ledger {
		if ledger[i].Outcome == netsim.Accept {
			v.Events++
		}
	}
	conn, _, err := websocket.DefaultDialer.DialContext(ctx, "ws://"+addr+"/xrpc/com.atproto.sync.subscribeRepos?cursor=0", nil) //nolint:bodyclose // the library says that it need not be
	if err != nil {
		v.Err = err.Error()
		return v
	}
	defer conn.Close()
	comparison := netsim.NewComparison(ledger)
	for ; v.Served < v.Events; v.Served++ {
		if err := conn.SetReadDeadline(time.Now().Add(relayPatience)); err != nil {
			break
		}
		_, frame, err := conn.ReadMessage()
		if err != nil {
			break // the report says what is missing
		}
		comparison.Add(frame)
	}
	report := comparison.Report()
	v.Matched = report.Matched
	if err := report.Err(); err != nil {
		v.Err = err.Error()
	}
	return v
}
