//go:build !linux

package replay

func preferHuge([]byte) {}
