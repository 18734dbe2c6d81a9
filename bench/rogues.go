package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"

	"github.com/cistern-archive/cistern/internal/rogue"
)

// rogueSpec is what a process of rogues plays.
type rogueSpec struct {
	Each int // hosts of each kind
	Seed uint64
}

// rogueAnnouncement is the first line of the process.
type rogueAnnouncement struct {
	Hosts []string `json:"hosts"` // URLs
}

// rogueCounts is what the hosts of each kind did together, the answer to any line.
type rogueCounts map[rogue.Kind]rogue.Count

// serveRogues is the process that plays hosts which break the rules of the wire.
func serveRogues(args []string) error {
	var spec rogueSpec
	if len(args) != 1 || json.Unmarshal([]byte(args[0]), &spec) != nil {
		return fmt.Errorf("rogues takes one argument, its description as JSON: %q", args)
	}
	var out rogueAnnouncement
	var all []*rogue.Server
	for i := range spec.Each {
		for k, kind := range rogue.Kinds() {
			h, err := rogue.New(kind, rogue.Options{Seed: spec.Seed + uint64(i*len(rogue.Kinds())+k)})
			if err != nil {
				return err
			}
			s, err := rogue.Serve(loopback+"0", h)
			if err != nil {
				return err
			}
			all, out.Hosts = append(all, s), append(out.Hosts, s.URL)
		}
	}
	if err := say(out); err != nil {
		return err
	}
	for sc := bufio.NewScanner(os.Stdin); sc.Scan(); {
		counts := make(rogueCounts)
		for _, s := range all {
			sum, one := counts[s.Kind()], s.Count()
			counts[s.Kind()] = rogue.Count{Connections: sum.Connections + one.Connections, Fired: sum.Fired + one.Fired}
		}
		if err := say(counts); err != nil {
			return err
		}
	}
	return nil
}

// rogues is that process, from outside.
type rogues struct {
	*talker
	rogueAnnouncement
}

func startRogues(ctx context.Context, dir string, spec rogueSpec) (*rogues, error) {
	arg, err := json.Marshal(spec)
	if err != nil {
		return nil, err
	}
	t, err := startTalker("rogues", dir, "rogues", string(arg))
	if err != nil {
		return nil, err
	}
	r := &rogues{talker: t}
	if err := r.answer(ctx, "listening", &r.rogueAnnouncement); err != nil {
		r.end()
		return nil, err
	}
	return r, nil
}

func (r *rogues) counts(ctx context.Context) (c rogueCounts, err error) {
	if err = r.tell(lineCount); err == nil {
		err = r.answer(ctx, "counting", &c)
	}
	return c, err
}

// fired says whether every kind has done its thing.
func (c rogueCounts) fired() bool {
	for _, kind := range rogue.Kinds() {
		if c[kind].Fired == 0 {
			return false
		}
	}
	return true
}
