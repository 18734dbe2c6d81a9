package admin

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cistern-archive/cistern/internal/ledger"
)

func TestTheQuarantineIsListedAndItsFramesCanBeFetched(t *testing.T) {
	l := ledger.Open(ledger.Options{Now: func() time.Time { return time.Unix(1_767_000_000, 0) }})
	defer func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}()
	raw := "<script>\xff"
	l.Host("a.example").Refused(ledger.Dropped, "bad_signature", ledger.Frame{DID: "did:plc:\xff", Seq: 77, Raw: []byte(raw)})
	l.Host("b.example").Refused(ledger.Dropped, "undecodable", ledger.Frame{})
	h := NewHandler([]string{"secret"}, Sources{Hosts: new(decider), Takedowns: new(decider), Quarantine: l.Quarantine().List})
	get := func(query, password string) *httptest.ResponseRecorder {
		w, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/admin/quarantine?"+query, nil)
		r.SetBasicAuth("admin", password)
		h.ServeHTTP(w, r)
		return w
	}
	if w := get("", "wrong"); w.Code != http.StatusUnauthorized {
		t.Errorf("%d without the password", w.Code)
	}
	var rows []quarantineRow
	if err := json.Unmarshal(get("", "secret").Body.Bytes(), &rows); err != nil || len(rows) != 2 || rows[0].Host != "b.example" {
		t.Fatalf("%+v, %v", rows, err)
	}
	if err := json.Unmarshal(get("reason=bad_signature", "secret").Body.Bytes(), &rows); err != nil || len(rows) != 1 {
		t.Fatalf("%+v, %v", rows, err)
	}
	r := rows[0]
	if r.Reason != "bad_signature" || r.Host != "a.example" || r.UpstreamSeq != 77 || r.Bytes != len(raw) || !r.Time.Equal(time.Unix(1_767_000_000, 0)) {
		t.Errorf("%+v", r)
	}
	index := strconv.FormatUint(r.Index, 10)
	w := get("reason=bad_signature&index="+index, "secret")
	if w.Code != http.StatusOK || w.Body.String() != raw || w.Header().Get("X-Content-Type-Options") != "nosniff" ||
		!strings.HasPrefix(w.Header().Get("Content-Disposition"), "attachment") {
		t.Errorf("%d %q %v", w.Code, w.Body, w.Header())
	}
	for query, code := range map[string]int{
		"index=9999": http.StatusNotFound, "index=x": http.StatusBadRequest, "reason=undecodable&index=" + index: http.StatusNotFound,
	} {
		if w := get(query, "secret"); w.Code != code {
			t.Errorf("%s: %d, want %d", query, w.Code, code)
		}
	}
}
