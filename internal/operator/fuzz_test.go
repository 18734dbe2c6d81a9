package operator

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Whatever stands in the file, a start either names a line or goes on with the lines
// that count, which then stay as they are.
func FuzzOpen(f *testing.F) {
	f.Add([]byte(blockA + blockA))
	f.Add([]byte(blockA + blockA[:30]))
	f.Add([]byte(blockA + "\x00\x00\n"))
	f.Add([]byte(`{"time":"2026-01-01T00:00:00Z","action":"limit-events","subject":"a.example","per_day":3,"per_hour":null}` + "\n"))
	f.Add([]byte(`{"time":"2026-01-01T00:00:00Z","action":"limit-new-hosts","subject":"*","limit":3}`))
	f.Add([]byte(`{"time":"2026-01-01T00:00:00Z","action":"else","subject":7}` + "\n\n"))
	f.Add([]byte("null\n[]\n{}\n"))
	f.Fuzz(func(t *testing.T, file []byte) {
		fs := newFS(t)
		write(t, fs, string(file))
		j, err := Open(options(fs))
		if err != nil {
			var ce *CorruptError
			if !errors.As(err, &ce) || ce.Line < 1 || ce.Line > 1+bytes.Count(file, []byte("\n")) {
				t.Fatalf("%v", err)
			}
			return
		}
		defer j.Close()
		kept := contentOf(t, fs)
		if !strings.HasPrefix(string(file)+"\n", kept) {
			t.Fatalf("%q became %q", file, kept)
		}
		mustDecide(t, j, Decision{Action: BlockHost, Subject: "later.example"}, Decision{Action: UnblockHost, Subject: "later.example"})
		again := mustOpen(t, options(fs.CrashClone(vfs.CrashCloneCfg{})))
		if !reflect.DeepEqual(again.state, j.state) {
			t.Fatalf("%+v after a start, %+v before", again.state, j.state)
		}
	})
}

// A decision that is read is written so that it reads the same.
func FuzzParse(f *testing.F) {
	f.Add([]byte(strings.TrimSpace(blockA)))
	f.Add([]byte(`{"time":"2026-01-01T00:00:00Z","action":"limit-accounts","subject":"a.example","limit":3,"note":"\u0000"}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		d, known, err := parse(line)
		if err != nil || !known {
			return
		}
		out, err := appendLine(nil, &d)
		if err != nil {
			return // escapes may have made it too long
		}
		again, known, err := parse(bytes.TrimSuffix(out, []byte("\n")))
		if err != nil || !known || !again.Time.Equal(d.Time) {
			t.Fatalf("%q: %v, %v", out, known, err)
		}
		if again.Time = d.Time; !reflect.DeepEqual(again, d) {
			t.Fatalf("%+v became %+v", d, again)
		}
	})
}
