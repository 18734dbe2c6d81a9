package bucket

import (
	"context"
	"errors"
	"net"
	"os"
	"syscall"
)

// ErrUnavailable means that the store could not be reached, or said that it cannot serve
// for now: trying again may help.
var ErrUnavailable = errors.New("the store is unavailable")

// ErrFull means that the store has no room.
var ErrFull = errors.New("the store is full")

// KindOf sorts an error for metrics: "" for nil, "not_found", "exists", "changed",
// "unfit", "refused", "full", "timeout", "canceled", "mismatch", "unavailable" or
// "other".
func KindOf(err error) string {
	var mismatch *MismatchError
	var timeout net.Error
	switch {
	case err == nil:
		return ""
	case errors.Is(err, ErrNotFound):
		return "not_found"
	case errors.Is(err, ErrExists):
		return "exists"
	case errors.Is(err, ErrChanged):
		return "changed"
	case errors.Is(err, ErrUnfit):
		return "unfit"
	case errors.Is(err, ErrRefused):
		return "refused"
	case errors.Is(err, ErrFull), errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return "full"
	case errors.As(err, &mismatch):
		return "mismatch"
	case errors.Is(err, context.Canceled):
		return "canceled"
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return "timeout"
	case errors.Is(err, ErrUnavailable), errors.As(err, new(*net.OpError)):
		return "unavailable"
	}
	return "other"
}
