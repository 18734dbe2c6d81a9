package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

// profileSeconds is the length of a CPU profile. Ingest is profiled from its start,
// however far it gets in that time; replay is repeated for as long.
const profileSeconds = 10

// takeProfiles fetches a CPU profile, and then one of all allocations so far, from
// the relay's metrics listener.
func (s *session) takeProfiles(ctx context.Context, r *relay, work string) error {
	if err := os.MkdirAll(s.profile, 0o755); err != nil {
		return err
	}
	cpu := fmt.Sprintf("/debug/pprof/profile?seconds=%d", profileSeconds)
	if err := s.fetch(ctx, r.metrics+cpu, work+"-cpu.pprof"); err != nil {
		return err
	}
	return s.fetch(ctx, r.metrics+"/debug/pprof/allocs", work+"-allocs.pprof")
}

// takeHeaps fetches a heap profile whenever the relay's memory has grown by a tenth,
// until ctx ends; the last one explains the peak. It is of the last collection before.
func (s *session) takeHeaps(ctx context.Context, r *relay, work string) error {
	if err := os.MkdirAll(s.profile, 0o755); err != nil {
		return err
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for highest := int64(0); ; {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		l, err := lookAt(r.pid())
		if err != nil {
			return err
		}
		if l.resident < highest+highest/10 {
			continue
		}
		highest = l.resident
		if err := s.fetch(ctx, r.metrics+"/debug/pprof/heap", work+"-heap.pprof"); err != nil && ctx.Err() == nil {
			return err
		}
	}
}

// fetch writes what a URL answers into a file of the profiles' folder.
func (s *session) fetch(ctx context.Context, url, name string) (err error) {
	ctx, cancel := context.WithTimeout(ctx, (profileSeconds+30)*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("profile: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("profile: %s: %s", url, resp.Status)
	}
	f, err := os.Create(filepath.Join(s.profile, name))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	_, err = io.Copy(f, resp.Body)
	progress("profile: %s", f.Name())
	return err
}
