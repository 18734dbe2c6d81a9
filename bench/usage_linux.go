package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// childAttr makes a child die with us, and keeps the terminal's Ctrl-C from it: we
// end children in our own order.
func childAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// alive says whether a process exists.
func alive(pid int) bool { return !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) }

// cpuTime returns the CPU time that a process has used, user and system, threads that
// ended included. Its resolution is that of the scheduler, not of the clock tick.
func cpuTime(pid int) (time.Duration, error) {
	// The id of another process's CPU clock: clock_getcpuclockid(3), MAKE_PROCESS_CPUCLOCK
	// with CPUCLOCK_SCHED in the kernel's posix-timers.h.
	const cpuclockSched = 2
	clock := int32(^pid<<3 | cpuclockSched)
	var t unix.Timespec
	if err := unix.ClockGettime(clock, &t); err != nil {
		return 0, fmt.Errorf("CPU clock of process %d: %w", pid, err)
	}
	return time.Duration(t.Nano()), nil
}

// fileLimit returns how many files a process of ours may open: Go raises the soft limit
// to the hard one when it starts.
func fileLimit() (uint64, error) {
	var l unix.Rlimit
	err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l)
	return l.Max, err
}

// peakMemory returns the highest resident size that a process has had, in bytes,
// since it began or since forgetPeak.
func peakMemory(pid int) (int64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range bytes.Lines(b) {
		rest, ok := bytes.CutPrefix(line, []byte("VmHWM:"))
		if !ok {
			continue
		}
		kb, err := strconv.ParseInt(string(bytes.TrimSuffix(bytes.TrimSpace(rest), []byte(" kB"))), 10, 64)
		if err != nil {
			return 0, fmt.Errorf("VmHWM of process %d: %w", pid, err)
		}
		return kb << 10, nil
	}
	return 0, fmt.Errorf("process %d has no VmHWM", pid)
}

// forgetPeak makes the present resident size the peak (proc(5), clear_refs).
func forgetPeak(pid int) error {
	return os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", pid), []byte("5"), 0)
}
