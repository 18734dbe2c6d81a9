package frame

import (
	"strings"
	"testing"

	"github.com/bluesky-social/indigo/atproto/syntax"
)

// datetimes and tids hold what is at a boundary of their syntax.
var datetimes = []string{
	"", "2026-11-23T18:45:53Z", "2026-11-23T18:45:53.1Z", "2026-11-23T18:45:53.123456789Z", "2026-11-23T18:45:53.1234567890Z",
	"2026-11-23T18:45:53.12345678901234567890Z", "2026-11-23T18:45:53.123456789012345678901Z", "2026-11-23T18:45:53.Z",
	"2026-11-23T18:45:53+00:00", "2026-11-23T18:45:53.5-07:30", "2026-11-23T18:45:53-00:00", "2026-11-23T18:45:53+25:00",
	"2026-11-23T18:45:53", "2026-11-23t18:45:53z", "2026-11-23 18:45:53Z", "2026-11-23T18:45Z", "2026-11-23T24:00:00Z",
	"2026-11-23T23:59:60Z", "2026-11-23T23:60:00Z", "2026-00-23T18:45:53Z", "2026-13-23T18:45:53Z", "2026-11-00T18:45:53Z",
	"2026-11-30T18:45:53Z", "2026-11-31T18:45:53Z", "2026-12-31T18:45:53Z", "2026-02-28T18:45:53Z", "2026-02-29T18:45:53Z",
	"2024-02-29T18:45:53Z", "0000-01-01T00:00:00Z", "0000-01-01T00:00:00+01:00", "9999-12-31T23:59:59Z", "-2026-11-23T18:45:53Z",
	"2026-11-23T18:45:53ZZ", "2026-11-23T18:45:53.5", "2026-11-23T18:45:53.5z", "2026-11-23T18:45:53a5Z", "2026_11-23T18:45:53Z",
	"２026-11-23T18:45:53Z", "2026-11-23T18:45:53.5Z\n",
}

var tids = []string{
	"", "3jzfcijpj2z2a", "7777777777777", "2222222222222", "j222222222222", "k222222222222", "3zzzzzzzzzzzz", "zzzzzzzzzzzzz",
	"3jzfcijpj2z2", "3jzfcijpj2z2aa", "3jzfcijpj2z21", "3jzfcijpj2z28", "3JZFCIJPJ2Z2A", "3jzf-cij-pj2z-2a", "3jzfcijpj2z2\n",
}

func TestSyntaxAgreesWithIndigo(t *testing.T) {
	for _, s := range datetimes {
		agreeOnDatetime(t, s)
	}
	for _, s := range tids {
		agreeOnTID(t, s)
	}
	if validDatetime([]byte("2026-11-23T18:45:53,5Z")) {
		t.Error("a comma before the fraction passed")
	}
}

func agreeOnDatetime(t *testing.T, s string) {
	t.Helper()
	_, err := syntax.ParseDatetime(s)
	want := err == nil && !strings.Contains(s, ",") // see validDatetime
	if got := validDatetime([]byte(s)); got != want {
		t.Errorf("datetime %q: want %v, got %v", s, want, got)
	}
}

func agreeOnTID(t *testing.T, s string) {
	t.Helper()
	_, err := syntax.ParseTID(s)
	if got := validTID([]byte(s)); got != (err == nil) {
		t.Errorf("TID %q: want %v, got %v", s, err == nil, got)
	}
}

func FuzzSyntaxAgreesWithIndigo(f *testing.F) {
	for _, s := range append(datetimes, tids...) {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		agreeOnDatetime(t, s)
		agreeOnTID(t, s)
	})
}
