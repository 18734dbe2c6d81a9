package segmentlog

import "testing"

func TestAVerdictKeepsTheHostsWord(t *testing.T) {
	if _, _, known := Rewritten.HostStatus(); known {
		t.Error("a record without the host's word has one")
	}
	for status, want := range map[string]string{
		"takendown": "takendown", "suspended": "suspended", "deleted": "deleted", "deactivated": "deactivated",
		"desynchronized": "desynchronized", "throttled": "throttled", "": "", "on holiday": "",
	} {
		v := (Authority | Rewritten).WithHostStatus(false, status)
		if active, got, known := v.HostStatus(); active || got != want || !known || !v.Has(Authority|Rewritten) || v.Has(Local) {
			t.Errorf("%q: active %v, %q, known %v", status, active, got, known)
		}
		v = v.WithHostStatus(true, status)
		if active, got, known := v.HostStatus(); !active || got != "" || !known {
			t.Errorf("active after %q: %v, %q, known %v", status, active, got, known)
		}
	}
}
