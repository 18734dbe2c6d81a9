package identity

import (
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// answer is what a directory on a wire says.
type answer struct {
	status int
	header http.Header
	body   io.Reader
	err    error // instead of all that
	after  time.Duration
}

func doc(b string) answer { return answer{status: 200, body: strings.NewReader(b)} }

// wire is a network without sockets, which a test can put into a synctest bubble. It
// answers by the URL's host.
type wire struct {
	mu     sync.Mutex
	serve  map[string]func(path string) answer
	asked  []string // host and path
	moment []time.Time
}

func (w *wire) RoundTrip(req *http.Request) (*http.Response, error) {
	w.mu.Lock()
	w.asked = append(w.asked, req.URL.Host+req.URL.Path)
	w.moment = append(w.moment, time.Now())
	a := answer{status: 404, body: strings.NewReader("")}
	if serve := w.serve[req.URL.Host]; serve != nil {
		a = serve(req.URL.Path)
	}
	w.mu.Unlock()
	if a.after > 0 {
		select {
		case <-time.After(a.after):
		case <-req.Context().Done():
			return nil, req.Context().Err()
		}
	}
	if a.err != nil {
		return nil, a.err
	}
	if a.body == nil {
		a.body = strings.NewReader("")
	}
	if a.header == nil {
		a.header = http.Header{}
	}
	return &http.Response{
		StatusCode: a.status, Status: http.StatusText(a.status), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: a.header, Body: io.NopCloser(stopping{req, a.body}), Request: req, ContentLength: -1,
	}, nil
}

// stopping is a body that ends with its request, as one from a socket does.
type stopping struct {
	req *http.Request
	r   io.Reader
}

func (s stopping) Read(b []byte) (int, error) {
	if err := s.req.Context().Err(); err != nil {
		return 0, err
	}
	return s.r.Read(b)
}

// set changes what a host answers.
func (w *wire) set(host string, serve func(path string) answer) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.serve == nil {
		w.serve = make(map[string]func(string) answer)
	}
	w.serve[host] = serve
}

func (w *wire) always(host string, a func() answer) {
	w.set(host, func(string) answer { return a() })
}

// count is how many requests a host got, or all with "".
func (w *wire) count(host string) (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, a := range w.asked {
		if host == "" || strings.HasPrefix(a, host+"/") {
			n++
		}
	}
	return n
}

// wired returns a resolver on a wire, by the clock of the bubble it is in.
func wired(t *testing.T, w *wire, change func(*Options), plc ...string) *Resolver {
	t.Helper()
	opts := Options{PLCHosts: plc}
	if change != nil {
		change(&opts)
	}
	r, err := New(opts)
	if err != nil {
		t.Fatal(err)
	}
	r.fetch.plcHTTP.Transport, r.fetch.webHTTP.Transport = w, w
	t.Cleanup(r.Close)
	return r
}

// docOf is a document of any DID, with a key that is always the same.
func docOf(t testing.TB, did, pds string) string {
	t.Helper()
	return strings.ReplaceAll(fixedDoc, someDID, did) + pds + `"}]}`
}

// fixedDoc is a document up to its host.
const fixedDoc = `{"id":"` + someDID + `","verificationMethod":[{"id":"#atproto","type":"Multikey","controller":"` + someDID +
	`","publicKeyMultibase":"zQ3shXjHeiBuRCKmM36cuYnm7YEMzhGnCmCyW92sRJ9pribSF"}],"service":[{"id":"#atproto_pds","type":"AtprotoPersonalDataServer","serviceEndpoint":"https://`
