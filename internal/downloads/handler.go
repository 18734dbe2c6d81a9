package downloads

import (
	"bufio"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"time"

	"github.com/cistern-archive/cistern/segmentlog"
	"github.com/cistern-archive/cistern/segmentlog/ship"
)

// Prefix is where the handler stands.
const Prefix = "/archive/"

// File is an open segment.
type File interface {
	io.ReadSeeker
	io.Closer
}

// Options are where what is served comes from; all are needed but Logger.
type Options struct {
	Stream func() segmentlog.Stream
	// Catalog lists the segments of the log by day, both bounds included, "" for none.
	Catalog func(from, to ship.Day) []ship.Entry
	Find    func(segmentlog.SegmentName) (ship.Entry, bool)
	// Open opens a segment. Reads end when ctx does.
	Open func(ctx context.Context, e ship.Entry) (File, error)
	// Suppressed calls f with every account that is not active, and why.
	Suppressed func(ctx context.Context, f func(did, status string) error) error
	Logger     *slog.Logger
}

// NewHandler returns the handler of everything below Prefix.
func NewHandler(o Options) http.Handler {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	h := &handler{o: o, walking: make(chan struct{}, 1)}
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+Prefix+"{$}", h.page)
	mux.HandleFunc("GET "+Prefix+"stream.json", h.stream)
	mux.HandleFunc("GET "+Prefix+"catalog", h.catalog)
	mux.HandleFunc("GET "+Prefix+"segments/{name}", h.segment)
	mux.HandleFunc("GET "+Prefix+"suppressed", h.suppressed)
	return mux
}

type handler struct {
	o       Options
	walking chan struct{} // who walks over all accounts
}

func (h *handler) stream(w http.ResponseWriter, _ *http.Request) {
	s := h.o.Stream()
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-cache")
	_, _ = w.Write(s.Encode()) // the client left
}

func (h *handler) catalog(w http.ResponseWriter, r *http.Request) {
	from, err := day(r, "from")
	to, err2 := day(r, "to")
	if err := errors.Join(err, err2); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/jsonl")
	w.Header().Set("Cache-Control", "no-cache")
	out := bufio.NewWriterSize(w, 64<<10)
	for _, e := range h.o.Catalog(from, to) {
		if _, err := out.Write(e.Encode()); err != nil {
			return // the client left
		}
	}
	_ = out.Flush() // the client left
}

// day reads a parameter that is a date.
func day(r *http.Request, name string) (ship.Day, error) {
	v := r.URL.Query().Get(name)
	if v == "" {
		return "", nil
	}
	if t, err := time.Parse(time.DateOnly, v); err != nil || t.Format(time.DateOnly) != v {
		return "", fmt.Errorf("%s must be a date such as 2026-11-27, not %q", name, v)
	}
	return ship.Day(v), nil
}

func (h *handler) segment(w http.ResponseWriter, r *http.Request) {
	name, ok := segmentlog.ParseSegmentName(r.PathValue("name"))
	if !ok {
		http.Error(w, "that is not the name of a segment", http.StatusBadRequest)
		return
	}
	e, ok := h.o.Find(name)
	if !ok {
		http.Error(w, "the archive has no such segment: the catalog names those that it has", http.StatusNotFound)
		return
	}
	f, err := h.o.Open(r.Context(), e)
	if err != nil {
		h.o.Logger.Error("a segment cannot be served", "segment", r.PathValue("name"), "err", err)
		http.Error(w, "the segment cannot be read; the operator was told", http.StatusBadGateway)
		return
	}
	defer f.Close()
	header := w.Header()
	header.Set("Content-Type", "application/zstd")
	header.Set("ETag", `"`+hex.EncodeToString(e.SHA256[:])+`"`)
	header.Set("Cache-Control", "public, max-age=31536000, immutable")
	header.Set("Content-Disposition", `attachment; filename="`+name.String()+`"`)
	if _, local := f.(*os.File); local {
		http.ServeContent(w, r, "", time.UnixMicro(e.LastWitnessed), f)
		return
	}
	seen := &failing{File: f}
	http.ServeContent(w, r, "", time.UnixMicro(e.LastWitnessed), seen)
	if seen.err != nil && r.Context().Err() == nil {
		h.o.Logger.Error("a segment could not be served to its end", "segment", name.String(), "err", seen.err)
		panic(http.ErrAbortHandler) // the client must not take it for whole
	}
}

// failing remembers why reading ended.
type failing struct {
	File
	err error
}

func (f *failing) Read(p []byte) (int, error) {
	n, err := f.File.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		f.err = err
	}
	return n, err
}

// suppressedLine is an account whose frames must not be passed on.
type suppressedLine struct {
	DID    string `json:"did"`
	Status string `json:"status"`
}

func (h *handler) suppressed(w http.ResponseWriter, r *http.Request) {
	select { // it walks over all accounts
	case h.walking <- struct{}{}:
		defer func() { <-h.walking }()
	default:
		w.Header().Set("Retry-After", "10")
		http.Error(w, "somebody else is asking for that now", http.StatusTooManyRequests)
		return
	}
	out := bufio.NewWriterSize(w, 64<<10)
	enc := json.NewEncoder(out)
	w.Header().Set("Content-Type", "application/jsonl")
	w.Header().Set("Cache-Control", "no-cache")
	err := h.o.Suppressed(r.Context(), func(did, status string) error { return enc.Encode(suppressedLine{did, status}) })
	if err == nil {
		err = out.Flush()
	}
	if err != nil && r.Context().Err() == nil {
		h.o.Logger.Error("the accounts that are not active could not be listed", "err", err)
		panic(http.ErrAbortHandler) // the client must not take it for whole
	}
}
