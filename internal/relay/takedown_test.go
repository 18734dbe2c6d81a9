package relay

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/cistern-archive/cistern/internal/accounts"
	"github.com/cistern-archive/cistern/internal/frame"
	"github.com/cistern-archive/cistern/internal/operator"
	"github.com/cistern-archive/cistern/segmentlog"
)

// admin calls the admin API and returns the status.
func (s *stage) admin(path, body string) int {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodPost, "http://"+s.Addr()+"/admin/"+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	req.SetBasicAuth("admin", "secret")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer http.DefaultClient.CloseIdleConnections()
	defer resp.Body.Close()
	return resp.StatusCode
}

// own lists what the relay's own #account events say of an account.
func (s *stage) own(did string) (statuses []string) {
	s.t.Helper()
	reader := s.Log().NewReader(0)
	defer reader.Close()
	var rec segmentlog.Record
	for reader.Next(&rec) == nil {
		if !rec.Verdict.Has(segmentlog.Local) || string(rec.DID) != did {
			continue
		}
		ev, err := frame.Parse(rec.Frame)
		if err != nil {
			s.t.Fatal(err)
		}
		statuses = append(statuses, fmt.Sprint(ev.Active, " ", ev.Status))
	}
	return statuses
}

func (s *stage) effective(did string) accounts.Status {
	a, _, err := s.Account(did)
	if err != nil {
		return accounts.Status{Inactive: true, Reason: err.Error()}
	}
	return a.Effective()
}

func TestATakedownOutlivesRestartsAndIsLifted(t *testing.T) {
	s := newStage(t)
	s.cfg.AdminPasswords = []string{"secret"}
	a, b := s.net.Host(0).Account(0), s.net.Host(1).Account(0)
	s.start()
	s.steps(30)
	s.caughtUp()
	if code := s.admin("repo/takeDown", `{"did":"`+a.DID+`"}`); code != http.StatusOK {
		t.Fatalf("HTTP %d", code)
	}
	if code := s.admin("repo/takeDown", `{"did":"nobody"}`); code != http.StatusBadRequest {
		t.Errorf("HTTP %d for what is no DID", code)
	}
	if got := s.effective(a.DID); got != takenDown {
		t.Errorf("status %+v", got)
	}
	s.stop()

	// A crash between the decision and its event.
	j, err := operator.Open(operator.Options{Dir: s.cfg.DataDir})
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range []operator.Decision{
		{Action: operator.Takedown, Subject: b.DID}, {Action: operator.ReverseTakedown, Subject: a.DID},
	} {
		if err := j.Decide(d); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	s.start()
	until(t, "the decisions to take effect", func() bool {
		return s.effective(b.DID) == takenDown && s.effective(a.DID) == accounts.Status{}
	})
	if got := s.Takedowns(); len(got) != 1 || got[0] != b.DID {
		t.Errorf("taken down: %v", got)
	}
	s.stop()
	s.start()
	defer s.stop()
	until(t, "hosts to be read", func() bool { return len(s.Hosts()) == 2 })
	until(t, "the log to be durable", func() bool { return len(s.own(b.DID)) == 1 && len(s.own(a.DID)) == 2 })
	if got := s.own(a.DID); got[0] != "false takendown" || got[1] != "true " {
		t.Errorf("our own events: %q", got)
	}
}
