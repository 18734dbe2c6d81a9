package archive

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/cistern-archive/cistern/segmentlog"
)

// tool returns a program that the format is checked with. `make format-check`
// installs them and sets CISTERN_FORMAT_CHECK, so that nothing is skipped there.
func tool(t *testing.T, path string, probe ...string) string {
	t.Helper()
	err := exec.Command(path, probe...).Run()
	if err != nil && os.Getenv("CISTERN_FORMAT_CHECK") == "" {
		t.Skipf("%s %v: %v (make format-check installs what is missing)", path, probe, err)
	}
	if err != nil {
		t.Fatalf("%s %v: %v", path, probe, err)
	}
	return path
}

// strangersRecord is what contrib/python/read_segment.py prints.
type strangersRecord struct {
	Seq         uint64 `json:"seq"`
	Witnessed   int64  `json:"witnessed"`
	DID         string `json:"did"`
	Host        string `json:"host"`
	HostEpoch   uint64 `json:"host_epoch"`
	HostSeq     uint64 `json:"host_seq"`
	HostFloor   uint64 `json:"host_floor"`
	Verdict     uint64 `json:"verdict"`
	Frame       int    `json:"frame"`
	FrameSHA256 string `json:"frame_sha256"`
}

// TestAStrangersReaderAgrees runs the reader in Python, which knows the format from
// its description alone, over freshly written segments and over the golden one.
func TestAStrangersReaderAgrees(t *testing.T) {
	python := tool(t, "/usr/bin/python3", "-c", "import zstandard, cbor2")
	found, err := filepath.Glob(filepath.Join(golden, "*"+Suffix))
	if err != nil || len(found) != 1 {
		t.Fatal(found, err)
	}
	for _, path := range append(found, theSample(t).files...) {
		cmd := exec.Command(python, filepath.Join("..", "..", "contrib", "python", "read_segment.py"), path)
		cmd.Stderr = os.Stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		d := json.NewDecoder(bytes.NewReader(out))
		d.DisallowUnknownFields()
		seg, err := find(t, path).Files[0].Open(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		for rec, err := range seg.Records(0) {
			if err != nil {
				t.Fatal(err)
			}
			f, err := fieldsOf(segmentlog.AppendRecord(nil, rec))
			if err != nil {
				t.Fatal(err)
			}
			want := strangersRecord{f.Seq, f.Witnessed, f.DID, f.Host, f.HostEpoch, f.HostSeq, f.HostFloor, f.Verdict, len(rec.Frame), f.FrameSHA256}
			var got strangersRecord
			if err := d.Decode(&got); err != nil || got != want {
				t.Fatalf("%s: %+v, want %+v (%v)", path, got, want, err)
			}
		}
		if d.More() {
			t.Fatalf("%s: it prints more records than there are", path)
		}
		seg.Close()
	}
}

// TestAStrangersReaderFindsDamage damages a block, a root and a footer.
func TestAStrangersReaderFindsDamage(t *testing.T) {
	python := tool(t, "/usr/bin/python3", "-c", "import zstandard, cbor2")
	_, files := theSample(t).copyOf(t)
	good, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range []int{len(good) / 3, len(good) - 200, len(good) - 3} {
		b := bytes.Clone(good)
		b[at] ^= 1
		if err := os.WriteFile(files[0], b, 0o600); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command(python, filepath.Join("..", "..", "contrib", "python", "read_segment.py"), files[0]).CombinedOutput(); err == nil {
			t.Errorf("byte %d: no error\n%s", at, out)
		}
	}
}

// TestTheZstdProgramReadsSegments tests and decodes each with the reference
// implementation.
func TestTheZstdProgramReadsSegments(t *testing.T) {
	zstd := tool(t, "zstd", "--version")
	for _, path := range theSample(t).files {
		if out, err := exec.Command(zstd, "-q", "-t", path).CombinedOutput(); err != nil {
			t.Fatalf("zstd -t %s: %v\n%s", path, err, out)
		}
		raw, err := exec.Command(zstd, "-q", "-d", "-c", path).Output()
		if err != nil {
			t.Fatal(err)
		}
		seg, err := find(t, path).Files[0].Open(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		var want []byte
		for rec, err := range seg.Records(0) {
			if err != nil {
				t.Fatal(err)
			}
			want = segmentlog.AppendRecord(want, rec)
		}
		head := int(seg.Footer().Header.Raw)
		if len(raw) < head || !bytes.Equal(raw[head:], want) {
			t.Fatalf("%s: zstd -d gives other bytes than the records", path)
		}
		seg.Close()
	}
}
