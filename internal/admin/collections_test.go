package admin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// shelf notes what it is told.
type shelf struct {
	told []string
	err  error
}

func (s *shelf) Collections() ([]string, error) { return []string{"a.b.c"}, s.err }
func (s *shelf) AddRepos(_ context.Context, collection string, dids []string) error {
	s.told = append(s.told, fmt.Sprint(collection, dids))
	return s.err
}

func TestCollectionsAreListedAndAddedTo(t *testing.T) {
	var s shelf
	h := NewHandler([]string{"secret"}, Sources{Hosts: new(decider), Takedowns: new(decider), Collections: &s})
	call := func(method, what, body string) *httptest.ResponseRecorder {
		r, w := httptest.NewRequest(method, "/admin/collections/"+what, strings.NewReader(body)), httptest.NewRecorder()
		r.SetBasicAuth("admin", "secret")
		h.ServeHTTP(w, r)
		return w
	}
	if w := call("GET", "list", ""); w.Code != 200 || strings.TrimSpace(w.Body.String()) != `{"collections":["a.b.c"]}` {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if w := call("POST", "add", `{"collection":"a.b.c","dids":["did:plc:aaaaaaaaaaaaaaaaaaaaaaaa","did:web:b.example"]}`); w.Code != 200 || strings.Join(s.told, ";") != "a.b.c[did:plc:aaaaaaaaaaaaaaaaaaaaaaaa did:web:b.example]" {
		t.Errorf("%d %s, told %v", w.Code, w.Body, s.told)
	}
	s.told = nil
	for _, body := range []string{"", "[]", `{"dids":["did:plc:a"]}`, `{"collection":"a b","dids":[]}`, `{"collection":"a.b.c","dids":["alice"]}`, `{"collection":"a.b.c","dids":["did:plc:a\u0000"]}`} {
		if w := call("POST", "add", body); w.Code != 400 || s.told != nil {
			t.Errorf("%q: %d, told %v", body, w.Code, s.told)
		}
	}
	s.err = errors.New("behind")
	if w := call("GET", "list", ""); w.Code != 503 {
		t.Errorf("%d", w.Code)
	}
	if w := call("POST", "add", `{"collection":"a.b.c","dids":[]}`); w.Code != 503 {
		t.Errorf("%d", w.Code)
	}
}

// A browser that knows the password would send it with whatever a stranger's page asks for.
func TestAnotherSitesPageDecidesNothing(t *testing.T) {
	for name, c := range map[string]struct {
		header, value string
		code          int
	}{
		"a script":            {"User-Agent", "curl", 200},
		"our own page":        {"Sec-Fetch-Site", "same-origin", 200},
		"another site":        {"Sec-Fetch-Site", "cross-site", 403},
		"a neighbour":         {"Sec-Fetch-Site", "same-site", 403},
		"an old browser":      {"Origin", "https://evil.example", 403},
		"an old one, at home": {"Origin", "https://example.com", 200},
	} {
		d := &decider{}
		h := NewHandler([]string{"secret"}, Sources{Hosts: d, Takedowns: d})
		r, w := httptest.NewRequest(http.MethodPost, "/admin/pds/block?host=pds.example", nil), httptest.NewRecorder()
		r.SetBasicAuth("admin", "secret")
		r.Header.Set(c.header, c.value)
		if h.ServeHTTP(w, r); w.Code != c.code || len(d.told) > 0 != (c.code == 200) {
			t.Errorf("%s: %d, told %v", name, w.Code, d.told)
		}
	}
}
