package config

import (
	"errors"
	"fmt"

	"github.com/urfave/cli/v3"
)

// Whose numbers the events of upstream relays get.
const (
	SeqUpstream = "upstream"
	SeqOwn      = "own"
)

// Upstream says which relays are read instead of hosts.
type Upstream struct {
	Relays []string // URLs, of the operator's own word
	Seq    string   // SeqUpstream, SeqOwn, or "" for the one that goes with the number of relays
	Cursor uint64   // where a relay is begun with that the log has nothing of
	Epoch  uint64   // how often the relay has restarted its numbering, as the log counts
}

func (u *Upstream) flags(f *file) []cli.Flag {
	return []cli.Flag{
		&cli.StringSliceFlag{
			Name: "upstream-relay", Usage: "URL of a relay to follow instead of hosts; repeatable with --seq=own",
			Sources: f.sourcesOf("upstream-relay"), Destination: &u.Relays,
		},
		&cli.StringFlag{
			Name: "seq", Usage: "upstream: keep the numbers of the one upstream relay; own: give numbers; default: upstream with one relay, own with several",
			Sources: f.sourcesOf("seq"), Destination: &u.Seq,
		},
		&cli.Uint64Flag{
			Name: "upstream-cursor", Usage: "begin behind this seq of an upstream relay that the log has nothing of; default: with the oldest that it has",
			Sources: f.sourcesOf("upstream-cursor"), Destination: &u.Cursor,
		},
		&cli.Uint64Flag{
			Name: "upstream-epoch", Usage: "how often the upstream relay has restarted its numbering; the message that names this flag says what to give",
			Sources: f.sourcesOf("upstream-epoch"), Destination: &u.Epoch,
		},
	}
}

// Mirror says whether relays are read instead of hosts.
func (u *Upstream) Mirror() bool { return len(u.Relays) > 0 }

// KeepSeq says whether the events keep the upstream relay's numbers.
func (u *Upstream) KeepSeq() bool { return u.Seq == SeqUpstream }

func (c *Config) validateUpstream() error {
	u := &c.Upstream
	switch {
	case u.Seq != "" && u.Seq != SeqUpstream && u.Seq != SeqOwn:
		return fmt.Errorf("--seq %q is neither %s nor %s", u.Seq, SeqUpstream, SeqOwn)
	case !u.Mirror() && (u.Seq == SeqUpstream || u.Cursor > 0 || u.Epoch > 0):
		return errors.New("--seq=upstream, --upstream-cursor and --upstream-epoch need --upstream-relay")
	case !u.Mirror() && c.Verify == VerifyOff:
		return errors.New("--verify=off needs --upstream-relay: what hosts send is always verified")
	case !u.Mirror():
		return nil
	case c.Demo:
		return errors.New("--demo crawls a network of its own: leave --upstream-relay out")
	case len(c.Hosts) > 0 || c.PullHostsFrom != "":
		return errors.New("--upstream-relay is instead of hosts: leave --host and --pull-hosts-from out")
	}
	for i, url := range u.Relays {
		for _, other := range u.Relays[:i] {
			if url == other {
				return fmt.Errorf("--upstream-relay %s is given twice", url)
			}
		}
	}
	switch {
	case u.Seq == "" && len(u.Relays) == 1:
		u.Seq = SeqUpstream
	case u.Seq == "":
		u.Seq = SeqOwn
	case u.KeepSeq() && len(u.Relays) > 1:
		return errors.New("--seq=upstream keeps the numbers of one relay: give --seq=own to merge several")
	}
	if !u.KeepSeq() && u.Epoch > 0 {
		return errors.New("--upstream-epoch needs --seq=upstream: with numbers of its own a log goes on by itself")
	}
	if u.KeepSeq() && c.InitialSeq > 1 {
		return errors.New("--initial-seq-number is for numbers of the log's own: with --seq=upstream they are the relay's")
	}
	return nil
}
