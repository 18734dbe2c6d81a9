package segmentlog

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// image is a data directory as bytes.
type image struct {
	files map[string][]byte // by path
	hot   []string          // the hot files, oldest first
	want  [][]byte          // the log's records, encoded
	// safe is the offset in the newest file from which on a change may cost records:
	// its highest mark.
	safe int64
	// rest is, for each hot file, where its content ends and what was copied into
	// the next file begins.
	rest map[string]int64
}

// takeImage reads the folder of a log, which may be in use.
func takeImage(t testing.TB, fs vfs.FS) *image {
	t.Helper()
	o := testOptions(fs)
	o.EnsureDefaults()
	img := &image{files: map[string][]byte{}, hot: hotPaths(t, o), rest: map[string]int64{}}
	for _, p := range append(slices.Clone(img.hot), "/data/"+streamFile, "/data/"+reservedFile) {
		img.files[p] = mustRead(t, fs, p)
	}
	for i, p := range img.hot {
		limit := uint64(0)
		if i < len(img.hot)-1 {
			_, limit, _ = parseHotName(fs.PathBase(img.hot[i+1]))
		}
		s, err := scanHot(fs, p, limit, true)
		if err != nil {
			t.Fatal(err)
		}
		img.safe, img.rest[p] = s.file.end.Load(), s.tailEnd
	}
	l, _, err := img.open(nil)
	if err != nil {
		t.Fatal(err)
	}
	img.want = encodeAll(readAll(t, l, 0))
	mustClose(t, l)
	return img
}

// open opens a copy of the image in which the given files are changed. It returns
// the cuts that the start reported.
func (img *image) open(changed map[string][]byte) (*Log, []CutInfo, error) {
	files := maps.Clone(img.files)
	maps.Copy(files, changed)
	o := testOptions(vfs.NewMem())
	if err := o.FS.MkdirAll("/data/"+logFolder, 0o755); err != nil {
		return nil, nil, err
	}
	for p, b := range files {
		f, err := o.FS.Create(p, vfs.WriteCategoryUnspecified)
		if err != nil {
			return nil, nil, err
		}
		if _, err := f.Write(bytes.Clone(b)); err != nil {
			return nil, nil, err
		}
		if err := f.Close(); err != nil {
			return nil, nil, err
		}
	}
	var cuts []CutInfo
	o.Events.TornTail = func(c CutInfo) { cuts = append(cuts, c) }
	l, err := Open(o)
	return l, cuts, err
}

func encodeAll(recs []Record) [][]byte {
	out := make([][]byte, len(recs))
	for i := range recs {
		out[i] = AppendRecord(nil, &recs[i])
	}
	return out
}

// images are a log after a clean shutdown, after a crash, and after a crash, a
// start that copied the tail, and more writing.
func images(t *testing.T) map[string]*image {
	mem := vfs.NewCrashableMem()
	o := testOptions(mem)
	rng := newRNG(3)
	crash := func() *vfs.MemFS {
		return mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rng})
	}
	l := buildBatches(t, o, []int{1, 2, 1, 3, 1, 1, 2})
	unclean := crash()
	mustClose(t, l)
	out := map[string]*image{"clean": takeImage(t, crash()), "unclean": takeImage(t, unclean)}
	mem, o.FS = unclean, unclean
	mustClose(t, buildBatches(t, o, []int{1, 2, 1, 1, 1}))
	out["recovered"] = takeImage(t, crash())
	for name, img := range out {
		t.Logf("%s: %d files, %d records", name, len(img.hot), len(img.want))
		if len(img.hot) < 2 {
			t.Fatal("the test wants several files")
		}
	}
	return out
}

// buildBatches opens the log and appends group commits of the given sizes, in
// files of about 1 kB.
func buildBatches(t testing.TB, o Options, sizes []int) *Log {
	t.Helper()
	o.MaxHotBytes = 1 << 10
	committed, gate := newSeen(), make(chan struct{})
	o.OnCommit = func(b Batch) {
		committed.commit(b)
		<-gate
	}
	l := mustOpen(t, o)
	next := 0
	committed.wait(mustAppend(t, l, next)) // the committer waits at the gate
	for _, n := range sizes {
		var last uint64
		for range n {
			next++
			last = mustAppend(t, l, next)
		}
		gate <- struct{}{}
		committed.wait(last)
	}
	close(gate)
	return l
}

// check opens the image with changed bytes in one file from offset off on, and
// checks that the outcome is one that the design allows.
func (img *image) check(t *testing.T, what, path string, off int64, b []byte) (opened bool) {
	t.Helper()
	l, cuts, err := img.open(map[string][]byte{path: b})
	if err != nil {
		wantCorrupt(t, err, path, off)
		return false
	}
	got := encodeAll(readAll(t, l, 0))
	newest := path == img.hot[len(img.hot)-1]
	lost := len(img.want) - len(got)
	switch {
	case lost < 0 || !slices.EqualFunc(got, img.want[:len(got)], bytes.Equal):
		t.Fatalf("%s: wrong records", what)
	case !newest && (lost > 0 || off < img.rest[path]):
		t.Fatalf("%s: nobody noticed, %d records lost", what, lost)
	case newest && off < img.safe && len(b) == len(img.files[path]):
		t.Fatalf("%s, below the last mark (%d): nobody noticed, %d records lost", what, img.safe, lost)
	case lost > 0 && len(cuts) == 0 && len(b) == len(img.files[path]):
		t.Fatalf("%s: %d records lost and no cut reported", what, lost)
	}
	// The log goes on, and a later start still finds it whole.
	mustAppend(t, l, 1)
	o := testOptions(l.opts.FS)
	mustClose(t, l)
	l, err = Open(o)
	if err != nil {
		t.Fatalf("%s: the start after: %v", what, err)
	}
	if again := encodeAll(readAll(t, l, 0)); len(again) != len(got)+1 || !slices.EqualFunc(again[:len(got)], got, bytes.Equal) {
		t.Fatalf("%s: the start after has %d records, not %d", what, len(again), len(got)+1)
	}
	mustClose(t, l)
	return true
}

func TestRotIsNotATear(t *testing.T) {
	rng := newRNG(seed(t))
	for name, img := range images(t) {
		t.Run(name, func(t *testing.T) {
			flips, opened := 0, 0
			for _, path := range img.hot {
				for i := range img.files[path] {
					for _, mask := range []byte{0xff, 1 << rng.IntN(8)} {
						b := bytes.Clone(img.files[path])
						b[i] ^= mask
						flips++
						if img.check(t, fmt.Sprintf("%s byte %d ^ %02x", path, i, mask), path, int64(i), b) {
							opened++
						}
					}
				}
			}
			t.Logf("%d flips: %d stopped the start", flips, flips-opened)
			if opened*2 > flips {
				t.Fatalf("%d of %d flips did not matter: what is tested here?", opened, flips)
			}
		})
	}
}

func TestAFileCutAtAnyLengthIsATearOnlyAtTheEndOfALogThatCrashed(t *testing.T) {
	for name, img := range images(t) {
		t.Run(name, func(t *testing.T) {
			for i, path := range img.hot {
				for n := range img.files[path] {
					opened := img.check(t, fmt.Sprintf("%s cut to %d", path, n), path, int64(n), img.files[path][:n])
					closing := n >= len(img.files[path])-markSize // no record is lost
					leftover := int64(n) >= img.rest[path]
					if newest := i == len(img.hot)-1; opened && !leftover && !closing && (!newest || name != "unclean") {
						t.Fatalf("%s cut to %d of %d: nobody noticed", path, n, len(img.files[path]))
					}
				}
			}
		})
	}
}

func TestAReaderNeverServesRot(t *testing.T) {
	for name, img := range images(t) {
		t.Run(name, func(t *testing.T) {
			l, _, err := img.open(nil)
			if err != nil {
				t.Fatal(err)
			}
			defer mustClose(t, l)
			noticed := 0
			for _, file := range hotFilesOf(l) {
				f, err := l.opts.FS.OpenReadWrite(file.path, vfs.WriteCategoryUnspecified)
				if err != nil {
					t.Fatal(err)
				}
				for off := range file.end.Load() {
					if readRotten(t, l, f, file.path, off, img.want) {
						noticed++
					} else if off >= file.headerLen+markSize {
						t.Fatalf("%s byte %d: nobody noticed", file.path, off)
					}
				}
				f.Close()
			}
			if noticed == 0 {
				t.Fatal("no flip was noticed")
			}
		})
	}
}

// readRotten reads the log while the byte at off of f is flipped, and says
// whether the reader noticed.
func readRotten(t *testing.T, l *Log, f vfs.File, path string, off int64, want [][]byte) bool {
	t.Helper()
	var b [1]byte
	flip := func() {
		b[0] ^= 0xff
		if _, err := f.WriteAt(b[:], off); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := f.ReadAt(b[:], off); err != nil {
		t.Fatal(err)
	}
	flip()
	defer flip()
	r := l.NewReader(0)
	defer r.Close()
	for i := 0; ; i++ {
		var rec Record
		err := r.Next(&rec)
		if err == nil {
			if i >= len(want) || !bytes.Equal(AppendRecord(nil, &rec), want[i]) {
				t.Fatalf("%s byte %d: wrong record %d", path, off, i)
			}
			continue
		}
		if i == len(want) {
			return false
		}
		c, ok := err.(*CorruptError) //nolint:errorlint // the type is what Next promises
		if !ok || c.File != path || c.Offset > off {
			t.Fatalf("%s byte %d: %v", path, off, err)
		}
		return true
	}
}
