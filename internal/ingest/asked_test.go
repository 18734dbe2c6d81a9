package ingest

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cistern-archive/cistern/internal/frame"
	"github.com/cistern-archive/cistern/internal/rogue"
)

func TestAHostThatIsAskedForAStatusIsBoundedWhateverItDoes(t *testing.T) {
	for _, kind := range rogue.Kinds() {
		synctest.Test(t, func(t *testing.T) {
			h := newRogue(t, kind, rogue.Options{})
			s := newStreet(t, homes{}, map[string]func(net.Conn){"rogue.example": h.Play}, nil)
			defer s.stop()
			began := time.Now()
			active, err := s.m.statuses.ask(t.Context(), &address{name: "rogue.example", trusted: true}, alice)
			if took := time.Since(began); took > statusTimeout || err == nil || active {
				t.Errorf("%s: active %v, %v after %v", kind, active, err, took)
			}
		})
	}
}

// saysActive plays a host that answers getRepoStatus and nothing else.
func saysActive(c net.Conn) {
	defer c.Close()
	req, err := http.ReadRequest(bufio.NewReader(c))
	if err != nil {
		return
	}
	body := fmt.Sprintf(`{"did":%q,"active":true}`, req.URL.Query().Get("did"))
	fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
}

func TestAHostThatDoesNotAnswerTakesNobodysTurnToBeAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mute := newRogue(t, rogue.Mute, rogue.Options{})
		s := newStreet(t, homes{}, map[string]func(net.Conn){"mute.example": mute.Play, "pds.example": saysActive}, nil)
		defer s.stop()
		time.Sleep(time.Minute)
		ask := func(host, did string) (bool, error) {
			sub := subject{ev: &frame.Event{DID: did}}
			err := s.m.hosts[host].askStatus(&sub)
			return sub.active, err
		}
		var wg sync.WaitGroup
		for i := range 2 * statusAtOnce {
			wg.Go(func() {
				if _, err := ask("mute.example", someDID(i)); err == nil {
					t.Error("a mute host answered")
				}
			})
		}
		synctest.Wait()
		before := mute.Count().Fired
		began := time.Now()
		active, err := ask("pds.example", alice)
		if took := time.Since(began); err != nil || !active || took > 0 {
			t.Errorf("active %v, %v after %v, want an answer at once", active, err, took)
		}
		if before < statusPerHost {
			t.Errorf("the mute host was asked %d times, want %d", before, statusPerHost)
		}
		wg.Wait()
	})
}
