package dashboard

import (
	"bytes"
	"context"
	"embed"
	"html/template"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/cistern-archive/cistern/internal/crawl"
	"github.com/cistern-archive/cistern/internal/ledger"
	"github.com/cistern-archive/cistern/internal/xrpc"
	"github.com/cistern-archive/cistern/replay"
)

//go:embed assets
var assets embed.FS

var pages = template.Must(template.New("").Funcs(functions).ParseFS(assets, "assets/*.html"))

// Sources are what the pages show.
type Sources struct {
	Version   string
	Stream    func() xrpc.StreamInfo
	Counts    func() Counts
	Hosts     func() []crawl.Host
	Consumers func() []replay.ConsumerInfo
	Takedowns func() []string
	Bans      func() []string // of domains
	PerDay    func() int64    // hosts that may come in a day
	Ledger    func(context.Context, ledger.Query) (ledger.Page, error)
	// ShipLag says what is sealed and not in the archive: bytes, and when the oldest event of
	// it was witnessed, Unix µs, 0 for none.
	ShipLag func() (bytes, since int64)
	// Disk is what the relay's folders take and may take.
	Disk func() (used, budget int64)
	Now  func() time.Time
}

// Dashboard serves the pages.
type Dashboard struct {
	s       Sources
	sampler *sampler
	hours   hours
	streams chan struct{} // a place for each live connection
	cancel  context.CancelFunc
	ctx     context.Context // ends with Close
	running sync.WaitGroup
}

// maxLive bounds how many pages are kept live at once; the others are as they were loaded.
const maxLive = 32

// New begins to sample. Close it.
func New(s Sources) *Dashboard {
	d := &Dashboard{s: s, sampler: newSampler(s.Counts, s.Now), streams: make(chan struct{}, maxLive)}
	d.hours.query, d.hours.now, d.hours.running = s.Ledger, s.Now, &d.running
	d.ctx, d.cancel = context.WithCancel(context.Background())
	d.running.Go(func() { d.sampler.run(d.ctx) })
	return d
}

// Close ends sampling and every live page.
func (d *Dashboard) Close() {
	d.cancel()
	d.running.Wait()
}

// Public returns the handler of / and /assets/.
func (d *Dashboard) Public() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", d.front)
	mux.Handle("GET /assets/", static())
	return mux
}

// Admin returns the handler of the operator's pages, below /admin/. Who asks must be known
// to be an operator.
func (d *Dashboard) Admin() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /admin/{$}", d.operator)
	mux.HandleFunc("GET /admin/part/{part}", d.part)
	mux.HandleFunc("GET /admin/live", d.live)
	return mux
}

// static serves the files of the pages, and not their templates.
func static() http.Handler {
	files := http.FileServerFS(assets)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, ".html") || strings.HasSuffix(r.URL.Path, "/") {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Cache-Control", "public, max-age=300")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		files.ServeHTTP(w, r)
	})
}

// render writes a page, or nothing of it where it cannot be made.
func render(w http.ResponseWriter, name string, data any) {
	var b bytes.Buffer
	if err := pages.ExecuteTemplate(&b, name, data); err != nil {
		http.Error(w, "the page could not be made: "+err.Error(), http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
	_, _ = b.WriteTo(w) // the client left
}

type frontPage struct {
	Version, Host string
	Secure        bool
	Stream        xrpc.StreamInfo
	Age           time.Duration
	Rate          float64
}

// front is the page for everybody; who does not ask for HTML gets a few lines of text.
func (d *Dashboard) front(w http.ResponseWriter, r *http.Request) {
	p := frontPage{
		Version: d.s.Version, Host: r.Host, Secure: r.TLS != nil || r.Header.Get("X-Forwarded-Proto") == "https",
		Stream: d.s.Stream(), Rate: d.sampler.current().Events,
	}
	if at := p.Stream.Oldest.Time; !at.IsZero() {
		p.Age = d.s.Now().Sub(at)
	}
	if strings.Contains(r.Header.Get("Accept"), "text/html") {
		render(w, "front.html", p)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_ = plain.Execute(w, p) // the client left
}

// Scheme is that of the stream, as far as the request tells.
func (p frontPage) Scheme() string {
	if p.Secure {
		return "wss"
	}
	return "ws"
}
