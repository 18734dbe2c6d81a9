package ship

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/cistern-archive/cistern/segmentlog"
	"github.com/cistern-archive/cistern/segmentlog/bucket"
)

// EpochNumbers is how far apart epochs begin, and how many numbers a holder may reserve
// before it says so in the lease.
const EpochNumbers = 1_000_000_000

const (
	maxLease  = 16 << 10
	maxStream = 64 << 20 // nine million epochs
)

// Lease is lease.json: who writes the log. Nothing in it expires.
type Lease struct {
	Version int    `json:"version"`
	Stream  string `json:"stream"`
	Epoch   uint64 `json:"epoch"`
	Holder  string `json:"holder"`  // id of a data directory
	Machine string `json:"machine"` // for people
	Nonce   string `json:"nonce"`   // of the holder's last start
	// Reserved is the highest number that the holder may have reserved.
	Reserved uint64 `json:"reserved"`
	// Tip is the last durable seq when the lease was renewed.
	Tip      uint64    `json:"tip"`
	Since    time.Time `json:"since"`   // when the holder took the lease
	Renewed  time.Time `json:"renewed"` // by the holder's clock
	Released bool      `json:"released,omitempty"`
}

func (l *Lease) encode() []byte {
	b, _ := json.MarshalIndent(l, "", "  ") // numbers, strings and times
	return append(b, '\n')
}

func parseLease(b []byte) (Lease, error) {
	var l Lease
	if err := json.Unmarshal(b, &l); err != nil {
		return l, fmt.Errorf("%s: %w", LeaseKey, err)
	}
	if l.Version != 1 {
		return l, fmt.Errorf("%s: version %d: %w", LeaseKey, l.Version, segmentlog.ErrVersion)
	}
	if l.Stream == "" || l.Epoch == 0 || l.Holder == "" || l.Nonce == "" || l.Reserved > segmentlog.MaxSeq {
		return l, fmt.Errorf("%s: stream, epoch, holder or nonce is missing", LeaseKey)
	}
	return l, nil
}

// ours says whether the lease is the one that l began, however often it was renewed.
func (l *Lease) ours(read *Lease) bool {
	return read.Epoch == l.Epoch && read.Holder == l.Holder && read.Nonce == l.Nonce
}

// readLease returns the lease, nil where there is none.
func readLease(ctx context.Context, b bucket.Bucket) (*Lease, bucket.Version, error) {
	raw, info, err := bucket.ReadAll(ctx, b, LeaseKey, maxLease)
	if errors.Is(err, bucket.ErrNotFound) {
		return nil, "", nil
	}
	if err != nil {
		return nil, "", err
	}
	l, err := parseLease(raw)
	return &l, info.Version, err
}

// readStream returns the archive's stream.json, nil where there is none.
func readStream(ctx context.Context, b bucket.Bucket) (*segmentlog.Stream, bucket.Version, error) {
	raw, info, err := bucket.ReadAll(ctx, b, StreamKey, maxStream)
	if errors.Is(err, bucket.ErrNotFound) {
		return nil, "", nil
	}
	if err != nil {
		return nil, "", err
	}
	s, err := segmentlog.ParseStream(raw)
	if err != nil {
		return nil, "", fmt.Errorf("%s: %s: %w", b, StreamKey, err)
	}
	return &s, info.Version, nil
}

// ReadStream returns the stream that an archive is of: bucket.ErrNotFound where it is of
// none.
func ReadStream(ctx context.Context, b bucket.Bucket) (*segmentlog.Stream, error) {
	s, _, err := readStream(ctx, b)
	if err == nil && s == nil {
		err = fmt.Errorf("%s: %s: %w", b, StreamKey, bucket.ErrNotFound)
	}
	return s, err
}
