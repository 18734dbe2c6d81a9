package fetch

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/cistern-archive/cistern/segmentlog/bucket"
)

// ErrClosed says that the Fetcher or the Object was closed. It is an fs.ErrClosed.
var ErrClosed = fmt.Errorf("fetch: %w", fs.ErrClosed)

// MissingError means that the bucket does not have an object. It is a
// bucket.ErrNotFound.
type MissingError struct {
	Key string
}

func (e *MissingError) Error() string { return fmt.Sprintf("%s: %v", e.Key, bucket.ErrNotFound) }

// Unwrap returns bucket.ErrNotFound.
func (e *MissingError) Unwrap() error { return bucket.ErrNotFound }

// lasting says whether an error of the bucket stays when it is tried again.
func lasting(err error) bool {
	return errors.Is(err, bucket.ErrNotFound) || errors.Is(err, bucket.ErrRefused) || errors.Is(err, errShort)
}

// errShort: the object is shorter than it should be, says the bucket.
var errShort = errors.New("the object is not as long as it should be")
