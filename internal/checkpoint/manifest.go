package checkpoint

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cistern-archive/cistern/segmentlog/bucket"
)

const (
	prefix       = "checkpoints/"
	manifestName = "manifest.json"
	partSuffix   = ".cbor.zst"
	magic        = "cistern-checkpoint"
	version      = 1
	maxManifest  = 16 << 20
	maxParts     = 1 << 16
)

// Manifest is manifest.json.
type Manifest struct {
	Version int       `json:"version"`
	Stream  string    `json:"stream"`
	Seq     uint64    `json:"seq"`    // the watermark: the log up to it is in the state
	Schema  int       `json:"schema"` // of the index (index.Schema)
	Created time.Time `json:"created"`
	Parts   []Part    `json:"parts"`
}

// Part is one object of a checkpoint.
type Part struct {
	Name   string `json:"name"`
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
	Pairs  uint64 `json:"pairs"` // keys with their values
}

func folder(seq uint64) string { return fmt.Sprintf("%s%016d/", prefix, seq) }

// parseKey reads the seq from a key below checkpoints/.
func parseKey(key string) (seq uint64, ok bool) {
	rest, ok := strings.CutPrefix(path.Dir(key), strings.TrimSuffix(prefix, "/")+"/")
	if !ok {
		return 0, false
	}
	seq, err := strconv.ParseUint(rest, 10, 63)
	return seq, err == nil && folder(seq)+path.Base(key) == key
}

func (m *Manifest) encode() []byte {
	b, _ := json.MarshalIndent(m, "", "  ") // numbers, strings and a time
	return append(b, '\n')
}

func parseManifest(b []byte) (*Manifest, error) {
	var m Manifest
	if err := json.Unmarshal(b, &m); err != nil {
		return nil, err
	}
	switch {
	case m.Version != version:
		return nil, fmt.Errorf("version %d", m.Version)
	case m.Stream == "" || m.Seq == 0 || len(m.Parts) == 0 || len(m.Parts) > maxParts:
		return nil, errors.New("stream, seq or parts are missing")
	}
	for i, p := range m.Parts {
		if sum, err := hex.DecodeString(p.SHA256); err != nil || len(sum) != 32 || p.Bytes <= 0 || p.Name != partName(i) {
			return nil, fmt.Errorf("part %d, %q, is not described", i, p.Name)
		}
	}
	return &m, nil
}

func partName(i int) string { return fmt.Sprintf("%04d%s", i, partSuffix) }

// Newest returns when the newest checkpoint was written, the zero time for none.
func Newest(ctx context.Context, b bucket.Bucket) (time.Time, error) {
	all, err := list(ctx, b)
	if err != nil {
		return time.Time{}, err
	}
	for _, seq := range slices.Backward(slices.Sorted(maps.Keys(all))) {
		if !hasManifest(all[seq]) {
			continue
		}
		raw, _, err := bucket.ReadAll(ctx, b, folder(seq)+manifestName, maxManifest)
		if err != nil {
			return time.Time{}, err
		}
		if m, err := parseManifest(raw); err == nil {
			return m.Created, nil
		}
	}
	return time.Time{}, nil
}
