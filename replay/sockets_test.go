package replay

import (
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cistern-archive/cistern/segmentlog"
	"github.com/fxamacker/cbor/v2"
	"github.com/gorilla/websocket"
)

// audience is consumers with connections of their own to a world's server, and all that is
// needed to judge afterwards what each of them got.
type audience struct {
	*world
	server *Server
	http   *httptest.Server

	mu     sync.Mutex
	cond   sync.Cond
	url    string // "" while there is no server
	life   int    // how many servers there were
	all    []logged
	index  map[[sha256.Size]byte]int // of each frame in all
	status map[string][]change       // by account
	end    bool                      // nobody connects any more
}

// logged is one event that was ever committed.
type logged struct {
	truth
	lost int // the first life without it, 0 for none
}

// change is what an account's status became when at events had been committed.
type change struct {
	at       int
	inactive bool
}

// received is one message that a consumer got.
type received struct {
	event int // in all
	info  bool
	known int // events that were committed by then
	life  int
}

const theEnd = "did:plc:end" // of the last event

func newAudience(t *testing.T, s uint64) *audience {
	a := &audience{index: map[[sha256.Size]byte]int{}, status: map[string][]change{}}
	a.cond.L = &a.mu
	a.world = makeWorld(t, s)
	a.world.watch, a.world.opened, a.world.closing = a.watch, a.opened, a.closing
	a.open()
	t.Cleanup(a.close)
	return a
}

func (a *audience) opened() {
	server := NewServer(Options{Source: a.src, Suppressed: a.set, Logger: slog.New(slog.DiscardHandler)})
	http := httptest.NewServer(server)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.server, a.http, a.life = server, http, a.life+1
	a.url = "ws" + strings.TrimPrefix(http.URL, "http")
	a.cond.Broadcast()
}

func (a *audience) closing() {
	a.mu.Lock()
	a.url = ""
	a.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	a.server.Shutdown(ctx)
	a.http.Close()
}

// watch notes what is committed, before anyone can be sent it.
func (a *audience) watch(b segmentlog.Batch) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for i := range b.Len() {
		var head struct{ T string }
		var body struct {
			Did    string
			Active bool
		}
		rest, err := cbor.UnmarshalFirst(b.Frame(i), &head)
		if err == nil {
			err = cbor.Unmarshal(rest, &body)
		}
		if err != nil {
			a.t.Error(err)
		}
		a.index[sha256.Sum256(b.Frame(i))] = len(a.all)
		a.all = append(a.all, logged{truth: truth{seq: b.Seq(i), did: body.Did, kind: head.T}})
		if head.T == "#account" {
			a.status[body.Did] = append(a.status[body.Did], change{len(a.all) - 1, !body.Active})
		}
	}
}

// takeOver is that of the world; what was lost and what became of accounts is noted.
func (a *audience) takeOver() {
	if len(a.list) == 0 {
		return
	}
	last := a.list[len(a.list)-1].Name.LastSeq
	a.did["take-over"]++
	a.world.takeOver() // its server is the next life
	a.mu.Lock()
	defer a.mu.Unlock()
	for i := len(a.all) - 1; i >= 0 && a.all[i].seq > last; i-- {
		if a.all[i].lost == 0 {
			a.all[i].lost = a.life
		}
	}
	for did := range a.status {
		a.status[did] = append(a.status[did], change{len(a.all), a.inactive[did]})
	}
}

// follow is one consumer: it connects again whenever its connection ends, until it has had
// the last event.
func (a *audience) follow(rng *rand.Rand, pos uint64) (got []received) {
	for {
		a.mu.Lock()
		for a.url == "" && !a.end {
			a.cond.Wait()
		}
		url, life, end := a.url, a.life, a.end
		a.mu.Unlock()
		if end {
			return got
		}
		conn, resp, err := websocket.DefaultDialer.Dial(fmt.Sprintf("%s/?cursor=%d", url, pos), nil)
		if err != nil {
			if resp != nil && resp.StatusCode != 503 {
				a.t.Errorf("cursor %d: %s", pos, resp.Status)
				return got
			}
			time.Sleep(time.Millisecond) // the server is about to go
			continue
		}
		patience := 1 + rng.IntN(3000)
		for range patience {
			r, seq, last, err := a.receive(conn, life)
			if err != nil {
				break
			}
			got = append(got, r)
			if last {
				conn.Close()
				return got
			}
			if !r.info {
				pos = seq
			}
			if rng.IntN(100) == 0 {
				time.Sleep(time.Duration(rng.IntN(5)) * time.Millisecond) // it has other things to do
			}
		}
		conn.Close()
	}
}

func (a *audience) receive(conn *websocket.Conn, life int) (r received, seq uint64, last bool, err error) {
	_, frame, err := conn.ReadMessage()
	if err != nil {
		return r, 0, false, err
	}
	sum := sha256.Sum256(frame)
	a.mu.Lock()
	defer a.mu.Unlock()
	i, ok := a.index[sum]
	if !ok {
		var head struct{ T string }
		if _, err := cbor.UnmarshalFirst(frame, &head); err != nil || head.T != "#info" {
			a.t.Errorf("a message that is not of the log: %q", frame[:min(len(frame), 100)])
		}
		return received{info: true}, 0, false, nil
	}
	return received{event: i, known: len(a.all), life: life}, a.all[i].seq, a.all[i].did == theEnd, nil
}

// was says whether an account had a status at some time from when event from was committed to
// when known events were.
func (a *audience) was(did string, inactive bool, from, known int) bool {
	now := false
	for _, c := range a.status[did] {
		if c.at <= from {
			now = c.inactive
			continue
		}
		if now == inactive || c.at >= known {
			break
		}
		now = c.inactive
	}
	return now == inactive
}

func (e *logged) suppressible() bool { return e.kind == "#commit" || e.kind == "#sync" }

// judge holds what a consumer got against the truth: every event above its cursor once and in
// order, but for what was suppressed, what it was told was trimmed, and what was lost.
func (a *audience) judge(pos uint64, got []received) error {
	next, told := 0, false
	for next < len(a.all) && a.all[next].seq <= pos {
		next++
	}
	for _, r := range got {
		if r.info {
			told = true
			a.did["info"]++
			continue
		}
		e := &a.all[r.event]
		switch {
		case r.event < next:
			return fmt.Errorf("seq %d came where %d is next", e.seq, a.all[next].seq)
		case e.lost != 0 && r.life >= e.lost:
			return fmt.Errorf("seq %d came, which was lost", e.seq)
		case e.suppressible() && !a.was(e.did, false, r.event, r.known):
			return fmt.Errorf("seq %d came, of an account that was not active", e.seq)
		case next > 0 && a.all[next-1].lost != 0 && r.life >= a.all[next-1].lost && a.all[next-1].lost != e.lost && !told:
			return fmt.Errorf("seq %d came without a word of what was lost from %d on", e.seq, a.all[next-1].seq)
		}
		for i := next; i < r.event; i++ {
			if err := a.excuse(i, r, told); err != nil {
				return err
			}
		}
		next, told = r.event+1, false
	}
	if next != len(a.all) {
		return fmt.Errorf("it got nothing behind seq %d", a.all[next-1].seq)
	}
	return nil
}

// excuse says why event i may be missing before r.
func (a *audience) excuse(i int, r received, told bool) error {
	m := &a.all[i]
	switch {
	case m.lost != 0 && r.life >= m.lost:
		a.did["was lost"]++
	case m.suppressible() && a.was(m.did, true, i, r.known):
		a.did["skipped"]++
	case told && m.seq <= a.stream.TrimmedThrough:
		a.did["was trimmed"]++
	default:
		return fmt.Errorf("seq %d (%s of %s) is missing before %d", m.seq, m.kind, m.did, a.all[r.event].seq)
	}
	return nil
}

func (a *audience) step() {
	switch n := a.rng.IntN(100); {
	case n < 70:
		a.append()
	case n < 78:
		a.world.status()
	case n < 86:
		a.ship()
	case n < 92:
		a.evict()
	case n < 95:
		a.trim()
	case n < 98:
		a.restart()
	default:
		a.takeOver()
	}
}

func TestEverySocketGetsExactlyTheLogWhateverHappensToIt(t *testing.T) {
	s := seed(t)
	a := newAudience(t, s)
	starts, results := make([]uint64, 20), make([][]received, 20)
	var running sync.WaitGroup
	steps := 300 * long(t)
	for i := range steps {
		if n := i * 2 * len(starts) / steps; i*2*len(starts)%steps < 2*len(starts) && n < len(starts) { // they come in the first half
			if n > 0 && a.rng.IntN(2) == 0 {
				starts[n] = a.events[a.rng.IntN(len(a.events))].seq
			}
			running.Go(func() { results[n] = a.follow(rand.New(rand.NewPCG(s, uint64(100+n))), starts[n]) })
		}
		switch i { // what is rare, at least once
		case steps * 2 / 3:
			a.evictSome()
		case steps / 2:
			a.takeOver()
		case steps * 3 / 4:
			a.trim()
			a.restart()
		}
		a.step()
	}
	a.log("#identity", theEnd, true, 10)
	a.await()
	running.Wait()
	a.mu.Lock()
	a.end = true
	a.mu.Unlock()
	for i, got := range results {
		if err := a.judge(starts[i], got); err != nil {
			t.Errorf("consumer %d, cursor %d: %v", i, starts[i], err)
		}
		a.did["messages"] += len(got)
	}
	t.Logf("%d events, %d lives, %v", len(a.all), a.life, a.did)
	for _, what := range []string{"skipped", "evicted", "take-over", "trimmed", "info"} {
		if a.did[what] == 0 {
			t.Errorf("no %s took part", what)
		}
	}
}
