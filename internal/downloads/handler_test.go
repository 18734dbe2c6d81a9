package downloads

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/cistern-archive/cistern/segmentlog"
	"github.com/cistern-archive/cistern/segmentlog/ship"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// shelf is an archive of files in memory, three a day.
type shelf struct {
	stream  segmentlog.Stream
	entries []ship.Entry
	files   map[segmentlog.SegmentName][]byte
	broken  error // what reading a file's second half gives
}

func newShelf(n int) *shelf {
	s := &shelf{stream: segmentlog.NewStream(1), files: map[segmentlog.SegmentName][]byte{}}
	day := time.Date(2026, 11, 26, 1, 0, 0, 0, time.UTC)
	for i := range n {
		name := segmentlog.SegmentName{Epoch: 1, FirstSeq: uint64(100*i + 1), LastSeq: uint64(100 * (i + 1))}
		b := bytes.Repeat([]byte{byte(i)}, 10_000+i)
		at := day.Add(time.Duration(i/3) * 24 * time.Hour).UnixMicro()
		s.files[name] = b
		s.entries = append(s.entries, ship.Entry{
			Name: name, Bytes: int64(len(b)), SHA256: sha256.Sum256(b), RawBytes: 1, FirstWitnessed: at, LastWitnessed: at + 1, Records: 100, FirstLeaf: uint64(100 * i),
		})
	}
	return s
}

func (s *shelf) options() Options {
	return Options{
		Stream: func() segmentlog.Stream { return s.stream },
		Catalog: func(from, to ship.Day) (out []ship.Entry) {
			for _, e := range s.entries {
				if e.Day() >= from && (to == "" || e.Day() <= to) {
					out = append(out, e)
				}
			}
			return out
		},
		Find: func(n segmentlog.SegmentName) (ship.Entry, bool) {
			for _, e := range s.entries {
				if e.Name == n {
					return e, true
				}
			}
			return ship.Entry{}, false
		},
		Open: func(_ context.Context, e ship.Entry) (File, error) {
			b, ok := s.files[e.Name]
			if !ok {
				return nil, errors.New("it is gone")
			}
			return &memFile{bytes.NewReader(b), s.broken}, nil
		},
		Suppressed: func(_ context.Context, f func(did, status string) error) error {
			return errors.Join(f("did:plc:a", "takendown"), f("did:web:b.example", ""))
		},
		Logger: slog.New(slog.DiscardHandler),
	}
}

type memFile struct {
	*bytes.Reader
	broken error
}

func (f *memFile) Read(p []byte) (int, error) {
	if f.broken != nil && int64(f.Len()) < f.Size()/2 {
		return 0, f.broken
	}
	return f.Reader.Read(p[:min(len(p), 1000)])
}

func (f *memFile) Close() error { return nil }

func serve(t *testing.T, s *shelf) *httptest.Server {
	server := httptest.NewServer(NewHandler(s.options()))
	t.Cleanup(func() { server.Close(); http.DefaultClient.CloseIdleConnections() })
	return server
}

func get(t *testing.T, url string, header ...string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return resp, "cut: " + err.Error()
	}
	return resp, string(b)
}

func TestASegmentIsServedByRangesAndRevalidated(t *testing.T) {
	s := newShelf(2)
	server := serve(t, s)
	e := s.entries[1]
	url := server.URL + "/archive/segments/" + e.Name.String()
	resp, body := get(t, url)
	tag := `"` + hex.EncodeToString(e.SHA256[:]) + `"`
	if resp.StatusCode != 200 || body != string(s.files[e.Name]) || resp.Header.Get("ETag") != tag || resp.ContentLength != e.Bytes {
		t.Errorf("%d, %d bytes, %v", resp.StatusCode, len(body), resp.Header)
	}
	resp, body = get(t, url, "Range", "bytes=100-199", "If-Range", tag)
	if resp.StatusCode != 206 || body != string(s.files[e.Name][100:200]) || resp.Header.Get("Content-Range") != fmt.Sprintf("bytes 100-199/%d", e.Bytes) {
		t.Errorf("%d, %d bytes, %v", resp.StatusCode, len(body), resp.Header)
	}
	if resp, body = get(t, url, "If-None-Match", tag); resp.StatusCode != 304 || body != "" {
		t.Errorf("%d, %d bytes", resp.StatusCode, len(body))
	}
	if resp, body = get(t, url, "Range", "bytes=0-9", "If-Range", `"another"`); resp.StatusCode != 200 || len(body) != int(e.Bytes) {
		t.Errorf("%d, %d bytes", resp.StatusCode, len(body))
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodHead, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	head, err := http.DefaultClient.Do(req)
	if err != nil || head.StatusCode != 200 || head.ContentLength != e.Bytes || head.Header.Get("ETag") != tag {
		t.Errorf("%v, %v", head, err)
	}
	head.Body.Close()
}

func TestASegmentThatCannotBeReadIsNeverTakenForWhole(t *testing.T) {
	s := newShelf(2)
	server := serve(t, s)
	url := server.URL + "/archive/segments/" + s.entries[0].Name.String()
	s.broken = errors.New("the bucket is away")
	if _, body := get(t, url); !strings.HasPrefix(body, "cut: ") {
		t.Errorf("%d bytes looked whole", len(body))
	}
	delete(s.files, s.entries[1].Name)
	if resp, _ := get(t, server.URL+"/archive/segments/"+s.entries[1].Name.String()); resp.StatusCode != 502 {
		t.Errorf("%d", resp.StatusCode)
	}
	for path, status := range map[string]int{
		"segments/00000001-0000000000000001-0000000000000099.0.cbor.zst": 404, "segments/x": 400, "segments/..%2f..%2fetc%2fpasswd": 400, "nothing": 404,
		"catalog?from=yesterday": 400, "catalog?to=2026-11-31": 400,
	} {
		if resp, body := get(t, server.URL+"/archive/"+path); resp.StatusCode != status {
			t.Errorf("%s: %d, %s", path, resp.StatusCode, body)
		}
	}
}

func TestTheCatalogListsTheDaysThatAreAskedFor(t *testing.T) {
	s := newShelf(9)
	server := serve(t, s)
	for query, want := range map[string][]ship.Entry{
		"": s.entries, "?from=2026-11-27": s.entries[3:], "?to=2026-11-27": s.entries[:6], "?from=2026-11-27&to=2026-11-27": s.entries[3:6], "?from=2027-01-01": nil,
	} {
		var lines []byte
		for i := range want {
			lines = append(lines, want[i].Encode()...)
		}
		if resp, body := get(t, server.URL+"/archive/catalog"+query); resp.StatusCode != 200 || body != string(lines) {
			t.Errorf("%q: %d, %d bytes of %d", query, resp.StatusCode, len(body), len(lines))
		}
	}
	if _, body := get(t, server.URL+"/archive/suppressed"); body != `{"did":"did:plc:a","status":"takendown"}`+"\n"+`{"did":"did:web:b.example","status":""}`+"\n" {
		t.Errorf("%s", body)
	}
	if _, body := get(t, server.URL+"/archive/stream.json"); body != string(s.stream.Encode()) {
		t.Errorf("%s", body)
	}
}

func TestThePageSaysWhatThereIs(t *testing.T) {
	s := newShelf(9)
	server := serve(t, s)
	resp, body := get(t, server.URL+"/archive/")
	for _, want := range []string{s.stream.ID, "2026-11-28", "900", "9 segments", "90.0 kB"} {
		if !strings.Contains(body, want) {
			t.Errorf("%d: %q is not on the page", resp.StatusCode, want)
		}
	}
	s.entries = nil
	if _, body := get(t, server.URL+"/archive/"); !strings.Contains(body, "Nothing is in it yet") {
		t.Errorf("%s", body)
	}
}
