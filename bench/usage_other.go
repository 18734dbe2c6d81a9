//go:build !linux

package main

import (
	"errors"
	"syscall"
	"time"
)

var errLinux = errors.New("bench needs Linux: it reads another process's CPU clock and memory from the kernel")

func childAttr() *syscall.SysProcAttr { return nil }

func alive(int) bool { return true }

func cpuTime(int) (time.Duration, error) { return 0, errLinux }

func fileLimit() (uint64, error) { return 0, errLinux }

func peakMemory(int) (int64, error) { return 0, errLinux }

func forgetPeak(int) error { return errLinux }
