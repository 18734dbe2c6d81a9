package ingest

import (
	"net/http"
	"testing"
)

func TestAHostsAnswerAboutAStatusIsReadWithCare(t *testing.T) {
	for _, c := range []struct {
		code   int
		body   string
		active bool
		answer bool
	}{
		{200, `{"did":"` + alice + `","active":true,"rev":"3k"}`, true, true},
		{200, `{"did":"` + alice + `","active":false,"status":"deactivated"}`, false, true},
		{200, `{"did":"` + alice + `"}`, false, true},
		{200, `{"did":"did:plc:aaaaaaaaaaaaaaaaaaaaaaaa","active":true}`, false, false},
		{400, `{"error":"RepoNotFound","message":"no"}`, false, true},
		{400, `{"error":"InvalidRequest"}`, false, false},
		{404, `not found`, false, false},
		{302, ``, false, false},
		{500, `{"did":"` + alice + `","active":true}`, false, false},
		{200, `{"did":["` + alice + `"]}`, false, false},
	} {
		active, err := readStatus(alice, c.code, []byte(c.body))
		if active != c.active || (err == nil) != c.answer {
			t.Errorf("%d %s: %v, %v", c.code, c.body, active, err)
		}
	}
}

func FuzzReadStatus(f *testing.F) {
	f.Add(200, []byte(`{"did":"`+alice+`","active":true}`))
	f.Add(400, []byte(`{"error":"RepoNotFound"}`))
	f.Fuzz(func(t *testing.T, code int, b []byte) {
		if active, err := readStatus(alice, code, b); active && (err != nil || code != http.StatusOK) {
			t.Fatalf("active with %d and %v", code, err)
		}
	})
}
