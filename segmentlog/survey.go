package segmentlog

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/cockroachdb/errors/oserror"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// Survey is what a data directory holds of a log, before that is opened.
type Survey struct {
	Stream *Stream // nil for none
	Sealed []SegmentName
	Hot    []HotName
	End    uint64 // seq of the last record that can be read, 0 for none
	// Damaged is the first hot file that cannot be read to its end, nil for none: End may
	// be too low.
	Damaged *CorruptError
}

// HotName is what the name of a hot file says.
type HotName struct {
	File            string // base name
	Epoch, FirstSeq uint64
}

// TakeSurvey looks at a data directory that no process has open and changes nothing.
func TakeSurvey(fs vfs.FS, dir string) (Survey, error) {
	var v Survey
	var err error
	if v.Stream, err = ReadStream(fs, dir); err != nil && !oserror.IsNotExist(err) {
		return v, err
	}
	names, err := listFolder(fs, fs.PathJoin(dir, segmentFolder))
	if err != nil {
		return v, err
	}
	for _, name := range names {
		if n, ok := ParseSegmentName(name); ok {
			v.Sealed = append(v.Sealed, n)
			v.End = max(v.End, n.LastSeq)
		}
	}
	hot := fs.PathJoin(dir, logFolder)
	if names, err = listFolder(fs, hot); err != nil {
		return v, err
	}
	for _, name := range names {
		epoch, first, ok := parseHotName(name)
		if !ok {
			continue
		}
		v.Hot = append(v.Hot, HotName{name, epoch, first})
		s, err := scanHot(fs, fs.PathJoin(hot, name), 0, false)
		var damaged *CorruptError
		if errors.As(err, &damaged) {
			if v.Damaged == nil {
				v.Damaged = damaged
			}
			continue
		}
		if err != nil {
			return v, err
		}
		v.End = max(v.End, s.last())
	}
	return v, nil
}

// Beginning returns seq and leaf of the first record of the sealed segments, zeros for
// none: a log whose first file is a hot one begins with its first leaf.
func (v *Survey) Beginning(fs vfs.FS, dir string) (seq, leaf uint64, err error) {
	if len(v.Sealed) == 0 {
		return 0, 0, nil
	}
	first := slices.MinFunc(v.Sealed, func(a, b SegmentName) int { return cmp.Compare(a.FirstSeq, b.FirstSeq) })
	f, seg, err := openSealed(fs, fs.PathJoin(dir, segmentFolder, first.String()))
	if err != nil {
		return 0, 0, err
	}
	return first.FirstSeq, seg.Footer().FirstLeaf, f.Close()
}

func listFolder(fs vfs.FS, dir string) ([]string, error) {
	names, err := fs.List(dir)
	if oserror.IsNotExist(err) {
		return nil, nil
	}
	return names, err
}

// SetAside moves everything of the log that keep refuses, and the reservation, into a
// folder of the data directory, and returns how many files that were. The next opening
// begins above Stream.Current().FirstSeq, so the reservation is not needed. What a crash
// leaves half done is done by calling it again.
func SetAside(fs vfs.FS, dir, folder string, keep func(SegmentName) bool) (int, error) {
	v, err := TakeSurvey(fs, dir)
	if err != nil {
		return 0, err
	}
	type move struct{ from, name string }
	var moves []move
	for _, n := range v.Sealed {
		if !keep(n) {
			moves = append(moves, move{segmentFolder, n.String()})
		}
	}
	for _, h := range v.Hot {
		moves = append(moves, move{logFolder, h.File})
	}
	if _, err := fs.Stat(fs.PathJoin(dir, reservedFile)); err == nil {
		moves = append(moves, move{".", reservedFile})
	}
	if len(moves) == 0 {
		return 0, nil
	}
	to := fs.PathJoin(dir, folder)
	if err := fs.MkdirAll(to, 0o755); err != nil {
		return 0, err
	}
	for _, m := range moves {
		if err := fs.Rename(fs.PathJoin(dir, m.from, m.name), fs.PathJoin(to, m.name)); err != nil {
			return 0, fmt.Errorf("set aside: %w", err)
		}
	}
	for _, d := range []string{to, dir, fs.PathJoin(dir, logFolder), fs.PathJoin(dir, segmentFolder)} {
		if err := SyncDir(fs, d); err != nil && !oserror.IsNotExist(err) {
			return 0, err
		}
	}
	return len(moves), nil
}
