package ledger

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// scattered returns a ledger with rows at random places, in the store and in memory,
// and their names in the order in which they should come.
func scattered(t *testing.T, rng *rand.Rand, o Options, c *clock) (*Ledger, []string) {
	l := open(t, o)
	var names []string
	for hour := range 12 {
		if rng.IntN(4) > 0 {
			for i := range 6 {
				if rng.IntN(2) == 0 {
					l.Host(hostName(i)).Received(1)
					names = append(names, rowName(hostName(i), noon.Add(time.Duration(hour)*time.Hour)))
				}
			}
		}
		if rng.IntN(2) == 0 {
			c.set(c.now().Add(time.Hour)) // without a flush
			l.setClock()
		} else {
			c.pass(t, l, time.Hour)
		}
	}
	return l, names
}

func ask(t *testing.T, l *Ledger, q Query) (names []string, pages int) {
	t.Helper()
	for {
		p, err := l.Query(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		pages++
		for _, r := range p.Rows {
			names = append(names, rowName(r.Host, r.Start()))
		}
		if len(p.Rows) > q.Limit {
			t.Fatalf("%d rows of at most %d", len(p.Rows), q.Limit)
		}
		if p.Cursor == "" {
			return names, pages
		}
		if len(p.Rows) == 0 {
			t.Fatal("an empty page with a cursor")
		}
		q.Cursor = p.Cursor
	}
}

func TestPagesJoinToAllRowsInOrder(t *testing.T) {
	rng := seeded(t)
	for range 30 {
		c := newClock()
		o := stored(vfs.NewMem(), c)
		if rng.IntN(4) == 0 {
			o.Dir = ""
		}
		o.FlushEvery = time.Duration(1+rng.IntN(3)) * time.Hour
		l, all := scattered(t, rng, o, c)
		for limit := 1; limit <= len(all)+1; limit += 1 + limit/4 {
			got, pages := ask(t, l, Query{Limit: limit})
			if !slices.Equal(got, all) {
				t.Fatalf("limit %d:\ngot  %v\nwant %v", limit, got, all)
			}
			if want := max(1, (len(all)+limit-1)/limit); pages != want {
				t.Errorf("%d pages of %d for %d rows, want %d: the last has no cursor", pages, limit, len(all), want)
			}
		}
		since, hours := rng.IntN(14)-1, rng.IntN(14)
		q := Query{
			Since: noon.Add(time.Duration(since)*time.Hour + time.Duration(rng.IntN(60))*time.Minute),
			Until: noon.Add(time.Duration(since+hours) * time.Hour), Limit: 1 + rng.IntN(5),
		}
		if rng.IntN(2) == 0 {
			q.Host = hostName(rng.IntN(7)) // one of them has no rows
		}
		var want []string
		for _, name := range all {
			var host, at string
			if _, err := fmt.Sscan(name, &host, &at); err != nil {
				t.Fatal(err)
			}
			hour, err := time.Parse(time.RFC3339, at)
			if err != nil {
				t.Fatal(err)
			}
			if (q.Host == "" || q.Host == host) && hour.Add(time.Hour).After(q.Since) && hour.Before(q.Until) {
				want = append(want, name)
			}
		}
		if got, _ := ask(t, l, q); !slices.Equal(got, want) {
			t.Fatalf("%+v:\ngot  %v\nwant %v", q, got, want)
		}
		closeLedger(t, l)
	}
}

func TestAPageOfOneRowGivesACursor(t *testing.T) {
	c := newClock()
	l := open(t, stored(vfs.NewMem(), c))
	l.Host("a").Received(1)
	l.Host("b").Received(1)
	p, err := l.Query(t.Context(), Query{Limit: 1})
	if err != nil || len(p.Rows) != 1 || p.Cursor == "" {
		t.Fatalf("%+v, %v", p, err)
	}
	p, err = l.Query(t.Context(), Query{Limit: 1, Cursor: p.Cursor})
	if err != nil || len(p.Rows) != 1 || p.Rows[0].Host != "b" || p.Cursor != "" {
		t.Fatalf("%+v, %v", p, err)
	}
}

func TestAQueryThatNobodyWaitsForEnds(t *testing.T) {
	c := newClock()
	l := open(t, stored(vfs.NewMem(), c))
	l.Host("a").Received(1)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := l.Query(ctx, Query{Limit: 1}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestAStoreThatCannotBeReadIsNoEmptyAnswer(t *testing.T) {
	c := newClock()
	l := open(t, stored(vfs.NewMem(), c))
	closeLedger(t, l)
	if _, err := l.Query(t.Context(), Query{Limit: 1}); !errors.Is(err, ErrUnavailable) {
		t.Error(err)
	}
}
