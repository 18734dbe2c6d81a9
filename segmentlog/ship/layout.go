package ship

import (
	"path"
	"strings"
	"time"

	"github.com/cistern-archive/cistern/segmentlog"
)

// The keys of an archive, under its prefix (docs/archive.md). They are part of the
// format.
const (
	StreamKey   = "stream.json"
	LeaseKey    = "lease.json"
	OperatorKey = "operator.jsonl"

	segmentPrefix = "segments/"
	catalogPrefix = "catalog/"
	catalogSuffix = ".jsonl"
)

// Day is a UTC date as catalogs are named: 2026-11-27.
type Day string

// DayOf returns the day of an instant in Unix µs.
func DayOf(witnessed int64) Day { return Day(time.UnixMicro(witnessed).UTC().Format(time.DateOnly)) }

// CatalogKey is where the day's catalog stands.
func CatalogKey(d Day) string { return catalogPrefix + string(d) + catalogSuffix }

// parseCatalogKey reads a key that CatalogKey made.
func parseCatalogKey(key string) (Day, bool) {
	s, ok := strings.CutPrefix(key, catalogPrefix)
	if !ok {
		return "", false
	}
	if s, ok = strings.CutSuffix(s, catalogSuffix); !ok {
		return "", false
	}
	t, err := time.Parse(time.DateOnly, s)
	return Day(s), err == nil && t.Format(time.DateOnly) == s
}

// folder is where the day's segments stand.
func (d Day) folder() string { return segmentPrefix + strings.ReplaceAll(string(d), "-", "/") + "/" }

// SegmentKey is where a segment stands: by the date of its first record.
func SegmentKey(firstWitnessed int64, n segmentlog.SegmentName) string {
	return DayOf(firstWitnessed).folder() + n.String()
}

// parseSegmentKey reads the name from a key that SegmentKey made.
func parseSegmentKey(key string) (Day, segmentlog.SegmentName, bool) {
	dir, base := path.Split(key)
	n, ok := segmentlog.ParseSegmentName(base)
	if !ok {
		return "", n, false
	}
	d := Day(strings.ReplaceAll(strings.Trim(strings.TrimPrefix(dir, segmentPrefix), "/"), "/", "-"))
	_, err := time.Parse(time.DateOnly, string(d))
	return d, n, err == nil && d.folder() == dir
}
