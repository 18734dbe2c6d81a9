package xrpc

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/atdata"
	"github.com/bluesky-social/indigo/atproto/lexicon"
	"go.uber.org/goleak"

	"github.com/cistern-archive/cistern/internal/frame"
	"github.com/cistern-archive/cistern/internal/ledger"
	"github.com/cistern-archive/cistern/segmentlog"
)

// The reference library's logger starts a goroutine when it is imported.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/ipfs/go-log/writer.(*MirrorWriter).logRoutine"))
}

const (
	method  = "network.cistern.getHostLedger"
	lexFile = "../../lexicons/network/cistern/getHostLedger.json"
)

var atNoon = time.Date(2026, 1, 2, 12, 30, 0, 0, time.UTC)

// counted returns a ledger in which each kind of thing was counted, of two hosts.
func counted(t testing.TB) *ledger.Ledger {
	l := ledger.Open(ledger.Options{Now: func() time.Time { return atNoon }})
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	h := l.Host("pds.example.com:8080")
	conn := h.Connected(5)
	h.Received(1234)
	conn.Fresh(9, atNoon.Add(-time.Second).Format(time.RFC3339))
	h.Accepted(frame.Commit, segmentlog.Signature|segmentlog.Discontinuous)
	h.Received(1)
	h.Refused(ledger.Dropped, "bad_signature", ledger.Frame{})
	h.Received(1)
	h.Refused(ledger.Ignored, "rev_old", ledger.Frame{})
	conn.Info("OutdatedCursor")
	h.Failed()
	h.Restarted()
	h.Closed("silent")
	l.Host("a.example.com").Received(7)
	return l
}

func get(t testing.TB, l HostLedger, query string) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	h := NewHandler(Parts{SubscribeRepos: http.NotFoundHandler(), HostLedger: l, Healthy: func() error { return nil }})
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/xrpc/"+method+"?"+query, nil))
	return w
}

// everything is a query that has the test's hour in it.
const everything = "since=2026-01-02T00:00:00Z"

func TestTheAnswerSaysWhatWasCounted(t *testing.T) {
	w := get(t, counted(t), everything+"&hostname=PDS.example.com:8080")
	if w.Code != http.StatusOK || w.Header().Get("Content-Type") != "application/json" {
		t.Fatalf("%d %v", w.Code, w.Header())
	}
	want := `{"rows":[{"hostname":"pds.example.com:8080","hour":"2026-01-02T12:00:00Z","received":3,"bytes":1236,"accepted":1,` +
		`"kinds":[{"name":"commit","count":1}],"flags":[{"name":"signature","count":1},{"name":"discontinuous","count":1}],` +
		`"dropped":1,"droppedBy":[{"name":"bad_signature","count":1}],"ignored":1,"ignoredBy":[{"name":"rev_old","count":1}],` +
		`"closed":1,"closedBy":[{"name":"silent","count":1}],"infos":1,"errors":1,"connections":1,"restarts":1,` +
		`"outdated":{"count":1,"cursor":9},"resumed":{"count":1,"cursor":5,"first":9},"skipped":{"count":0,"numbers":0},"behind":{"last":1000,"max":1000}}]}`
	if got := strings.TrimSpace(w.Body.String()); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestPagesHaveTheirEdgesRight(t *testing.T) {
	l := counted(t)
	var page struct {
		Cursor *string `json:"cursor"`
		Rows   []struct {
			Hostname string `json:"hostname"`
		} `json:"rows"`
	}
	read := func(query string) {
		t.Helper()
		page.Cursor, page.Rows = nil, nil
		w := get(t, l, query)
		if err := json.Unmarshal(w.Body.Bytes(), &page); err != nil || w.Code != http.StatusOK {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
	}
	read(everything + "&limit=1")
	if len(page.Rows) != 1 || page.Rows[0].Hostname != "a.example.com" || page.Cursor == nil {
		t.Fatalf("%+v", page)
	}
	read(everything + "&limit=1&cursor=" + url.QueryEscape(*page.Cursor))
	if len(page.Rows) != 1 || page.Rows[0].Hostname != "pds.example.com:8080" || page.Cursor != nil {
		t.Fatalf("%+v", page)
	}
	read(everything + "&limit=2")
	if len(page.Rows) != 2 || page.Cursor != nil {
		t.Fatalf("%+v", page)
	}
	read(everything + "&until=2026-01-02T12:00:00Z")
	if page.Rows == nil || len(page.Rows) != 0 || page.Cursor != nil {
		t.Fatalf("no rows must be an empty list: %+v", page)
	}
}

func TestWhatIsWrongWithAQueryIsSaid(t *testing.T) {
	l := counted(t)
	for query, word := range map[string]string{
		"limit=0": "limit", "limit=1001": "limit", "limit=x": "limit", "limit=-1": "limit",
		"since=yesterday": "since", "until=2026-01-02": "until", "since=1767355200": "since",
		"cursor=x": "cursor", "cursor=5": "cursor", "hostname=": "hostname", "hostname=" + strings.Repeat("a", 301): "hostname",
		"a=%zz": "query",
	} {
		w := get(t, l, query)
		var e struct{ Error, Message string }
		if err := json.Unmarshal(w.Body.Bytes(), &e); err != nil {
			t.Fatal(err)
		}
		if w.Code != http.StatusBadRequest || e.Error != "InvalidRequest" || !strings.Contains(e.Message, word) {
			t.Errorf("%s: %d %+v", query, w.Code, e)
		}
	}
	w := httptest.NewRecorder()
	hostLedgerHandler(l, time.Now).ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/", nil))
	if w.Code != http.StatusMethodNotAllowed {
		t.Errorf("POST: %d", w.Code)
	}
}

func TestWithoutATimeTheLastDayIsMeant(t *testing.T) {
	now := atNoon
	q, err := ledgerQuery(paramsOf(""), now)
	if err != nil || !q.Since.Equal(now.Add(-24*time.Hour)) || !q.Until.IsZero() || q.Limit != ledgerLimit {
		t.Errorf("%+v %v", q, err)
	}
	q, err = ledgerQuery(paramsOf("until=2025-01-02T00:00:00%2B01:00"), now)
	if err != nil || !q.Until.Equal(time.Date(2025, 1, 1, 23, 0, 0, 0, time.UTC)) || q.Until.Sub(q.Since) != 24*time.Hour {
		t.Errorf("%+v %v", q, err)
	}
}

type broken struct{}

func (broken) Query(context.Context, ledger.Query) (ledger.Page, error) {
	return ledger.Page{}, errors.New("on fire")
}

func TestALedgerThatCannotBeReadIsSaid(t *testing.T) {
	w := get(t, broken{}, "")
	if w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), `"LedgerUnavailable"`) {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// schema reads the lexicon, and makes a record of its output, which the library can
// check values against.
func schema(t *testing.T) (lexicon.Catalog, lexicon.SchemaFile) {
	t.Helper()
	b, err := os.ReadFile(lexFile)
	if err != nil {
		t.Fatal(err)
	}
	var sf lexicon.SchemaFile
	if err := json.Unmarshal(b, &sf); err != nil {
		t.Fatal(err)
	}
	if err := sf.FinishParse(); err != nil {
		t.Fatal(err)
	}
	if err := sf.CheckSchema(); err != nil {
		t.Fatal(err)
	}
	query, ok := sf.Defs["main"].Inner.(lexicon.SchemaQuery)
	if !ok {
		t.Fatal("main is no query")
	}
	output, ok := query.Output.Schema.Inner.(lexicon.SchemaObject)
	if !ok {
		t.Fatal("the output is no object")
	}
	asRecord := lexicon.SchemaFile{Lexicon: 1, ID: "com.example.output", Defs: maps.Clone(sf.Defs)}
	asRecord.Defs["main"] = lexicon.SchemaDef{Inner: lexicon.SchemaRecord{Type: "record", Key: "any", Record: output}}
	cat := lexicon.NewBaseCatalog()
	if err := cat.AddSchemaFile(asRecord); err != nil {
		t.Fatal(err)
	}
	return cat, sf
}

func TestTheAnswerIsOfTheLexicon(t *testing.T) {
	cat, sf := schema(t)
	if sf.ID != method {
		t.Errorf("the lexicon is of %s", sf.ID)
	}
	w := get(t, counted(t), everything)
	body := bytes.Replace(w.Body.Bytes(), []byte("{"), []byte(`{"$type":"com.example.output",`), 1)
	value, err := atdata.UnmarshalJSON(body)
	if err != nil {
		t.Fatal(err)
	}
	if err := lexicon.ValidateRecord(cat, value, "com.example.output", lexicon.StrictRecursiveValidation); err != nil {
		t.Errorf("%v\n%s", err, body)
	}
	delete(value, "rows")
	if lexicon.ValidateRecord(cat, value, "com.example.output", 0) == nil {
		t.Error("an answer without rows is valid too: the check checks nothing")
	}
}

// A lexicon allows fields that it does not name, so the names are compared here.
func TestEveryFieldOfTheAnswerIsInTheLexicon(t *testing.T) {
	_, sf := schema(t)
	for def, value := range map[string]any{
		"row": ledgerRow{}, "count": ledgerCount{}, "gap": ledgerGap{}, "behind": ledgerBehind{},
	} {
		object, ok := sf.Defs[def].Inner.(lexicon.SchemaObject)
		if !ok {
			t.Fatalf("%s is no object", def)
		}
		typ := reflect.TypeOf(value)
		if typ.NumField() != len(object.Properties) {
			t.Errorf("%s has %d fields, in the lexicon %d", def, typ.NumField(), len(object.Properties))
		}
		for i := range typ.NumField() {
			name, option, _ := strings.Cut(typ.Field(i).Tag.Get("json"), ",")
			if _, ok := object.Properties[name]; !ok {
				t.Errorf("%s.%s is not in the lexicon", def, name)
			}
			if required := slices.Contains(object.Required, name); required == (option == "omitempty") {
				t.Errorf("%s.%s: required is %v in the lexicon", def, name, required)
			}
		}
	}
}

func FuzzLedgerQuery(f *testing.F) {
	for _, s := range []string{"", everything, "limit=5&cursor=490900.a", "hostname=%00", "until=9999-12-31T23:59:59.999999999Z", "since=0000-01-01T00:00:00-23:59"} {
		f.Add(s)
	}
	l := counted(f)
	f.Fuzz(func(t *testing.T, raw string) {
		q, err := ledgerQuery(paramsOf(raw), atNoon)
		if err != nil {
			return
		}
		if q.Limit < 1 || q.Limit > ledger.MaxLimit || len(q.Host) > maxHostname || q.Since.IsZero() && !strings.Contains(raw, "0001-") {
			t.Errorf("%q is %+v", raw, q)
		}
		p, err := l.Query(t.Context(), q)
		if err != nil && !errors.Is(err, ledger.ErrCursor) || len(p.Rows) > q.Limit {
			t.Errorf("%q: %d rows, %v", raw, len(p.Rows), err)
		}
		if _, err := json.Marshal(ledgerAnswer(p)); err != nil {
			t.Error(err)
		}
	})
}
