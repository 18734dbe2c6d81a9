package segmentlog

import "fmt"

// CorruptError says that bytes of a file that were durable are not what was
// written. Nothing reads past it, nothing repairs it silently.
type CorruptError struct {
	File   string // path as it was opened
	Offset int64  // of the item that cannot be read, in bytes from the start
	Err    error
}

func (e *CorruptError) Error() string {
	return fmt.Sprintf("%s is damaged at offset %d: %v", e.File, e.Offset, e.Err)
}

func (e *CorruptError) Unwrap() error { return e.Err }
