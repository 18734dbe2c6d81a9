package ledger

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cistern-archive/cistern/index/disposable"
)

// MaxLimit is the largest page, in rows.
const MaxLimit = 1000

// Errors of a query.
var (
	// ErrCursor: the cursor is not one that a page gave.
	ErrCursor = errors.New("ledger: the cursor is not of this method")
	// ErrUnavailable: the store cannot be read at the moment.
	ErrUnavailable = errors.New("ledger: the store cannot be read")
)

// Query asks for rows. They come by hour, oldest first, and by hostname.
type Query struct {
	Host string // "" for all
	// Since and Until bound the rows: those whose hour ends after Since and begins
	// before Until. A zero Until is no bound.
	Since, Until time.Time
	Limit        int    // rows at most: 1 to MaxLimit
	Cursor       string // of the page before, "" for the first
}

// Page is an answer.
type Page struct {
	Rows   []*Row
	Cursor string // of the next page, "" when there is none
}

// place is where a row stands.
type place struct {
	hour int64
	host string
}

func (p place) compare(q place) int {
	return cmp.Or(cmp.Compare(p.hour, q.hour), strings.Compare(p.host, q.host))
}

// cursor of the page that ends here.
func (p place) cursor() string { return strconv.FormatInt(p.hour, 10) + "." + p.host }

// parseCursor reads a cursor.
func parseCursor(s string) (place, error) {
	hour, host, ok := strings.Cut(s, ".")
	n, err := strconv.ParseInt(hour, 10, 64)
	p := place{n, host}
	if !ok || err != nil || n < 0 || host == "" || len(host) > maxHost || p.cursor() != s {
		return place{}, ErrCursor
	}
	return p, nil
}

// span is what a query asks for: places from first to before end, of one host or all.
type span struct {
	first, end place
	host       string
	limit      int
}

func (s *span) has(p place) bool {
	return p.compare(s.first) >= 0 && p.compare(s.end) < 0 && (s.host == "" || p.host == s.host)
}

// after is where the host's next row may be, when the store's next key is p.
func (s *span) after(p place) place {
	if p.host < s.host {
		return place{p.hour, s.host}
	}
	return place{p.hour + 1, s.host}
}

func (q *Query) span() (span, error) {
	s := span{host: q.Host, limit: min(max(q.Limit, 1), MaxLimit)}
	s.first = place{hourOf(q.Since), s.host}
	s.end.hour = hourOf(q.Until)
	if q.Until.IsZero() {
		s.end.hour = math.MaxInt64
	} else if q.Until.After(time.Unix(s.end.hour*3600, 0)) {
		s.end.hour++
	}
	if q.Cursor == "" {
		return s, nil
	}
	after, err := parseCursor(q.Cursor)
	if err != nil {
		return s, err
	}
	after.host += "\x00" // the least place behind it
	if after.compare(s.first) > 0 {
		s.first = after
	}
	return s, nil
}

// Query returns rows, those that are not stored yet included.
func (l *Ledger) Query(ctx context.Context, q Query) (Page, error) {
	s, err := q.span()
	if err != nil {
		return Page{}, err
	}
	l.moving.RLock()
	defer l.moving.RUnlock()
	rows, err := l.stored(ctx, &s)
	if err != nil {
		return Page{}, err
	}
	if rows, err = l.withMemory(ctx, &s, rows); err != nil {
		return Page{}, err
	}
	if len(rows) <= s.limit {
		return Page{Rows: rows}, nil
	}
	last := rows[s.limit-1]
	return Page{Rows: rows[:s.limit], Cursor: place{last.Hour, last.Host}.cursor()}, nil
}

// stored returns the first rows of the span that the store has, one more than the
// limit.
func (l *Ledger) stored(ctx context.Context, s *span) (rows []*Row, err error) {
	store := l.keeper.store
	if store == nil {
		if l.opts.Dir != "" {
			return nil, ErrUnavailable
		}
		return nil, nil
	}
	for next := s.first; len(rows) <= s.limit && next.compare(s.end) < 0; {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		found := false
		err := store.Each(keysFrom(next, s.end), func(key, value []byte) error {
			hour, host, err := decodeKey(key)
			if err != nil {
				return nil //nolint:nilerr // not ours: left alone
			}
			p := place{hour, host}
			found, next = true, s.after(p)
			if row := (&Row{Host: host, Hour: hour}); s.has(p) && decodeRow(value, row) == nil {
				rows = append(rows, row)
			}
			if s.host != "" || len(rows) > s.limit || ctx.Err() != nil {
				return disposable.ErrEnough
			}
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
		if !found || s.host == "" {
			break
		}
	}
	return rows, ctx.Err()
}

func keysFrom(from, end place) disposable.Keys {
	return disposable.Keys{Lower: appendKey(nil, from.hour, from.host), Upper: appendKey(nil, end.hour, end.host)}
}

// source is a row in memory.
type source struct {
	place
	whole bool
	read  func() (*Row, error)
}

// withMemory merges rows of the store with those in memory, and returns one more
// than the limit at most. What is whole in memory replaces what is stored.
func (l *Ledger) withMemory(ctx context.Context, s *span, stored []*Row) ([]*Row, error) {
	sources := l.inMemory(s)
	slices.SortStableFunc(sources, func(a, b source) int { return a.compare(b.place) })
	rows := make([]*Row, 0, min(len(stored)+len(sources), s.limit+1))
	for len(rows) <= s.limit && len(stored)+len(sources) > 0 {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		at := place{hour: math.MaxInt64}
		if len(stored) > 0 {
			at = place{stored[0].Hour, stored[0].Host}
		}
		if len(sources) > 0 && sources[0].compare(at) < 0 {
			at = sources[0].place
		}
		row := &Row{Hour: at.hour, Host: at.host}
		if len(stored) > 0 && at == (place{stored[0].Hour, stored[0].Host}) {
			row, stored = stored[0], stored[1:]
		}
		for len(sources) > 0 && sources[0].place == at {
			later, err := sources[0].read()
			if err != nil {
				return nil, err
			}
			if sources[0].whole {
				row = later
			} else {
				row.add(later)
			}
			sources = sources[1:]
		}
		rows = append(rows, row)
	}
	return rows, nil
}

// inMemory lists the rows of the span that are in memory. Those of one place are in
// the order in which they were counted.
func (l *Ledger) inMemory(s *span) (sources []source) {
	for key, w := range l.waiting.rows {
		hour, host, err := decodeKey([]byte(key))
		if p := (place{hour, host}); err == nil && s.has(p) {
			sources = append(sources, source{p, w.whole, func() (*Row, error) {
				row := &Row{Host: host, Hour: hour}
				return row, decodeRow(w.value, row)
			}})
		}
	}
	for _, h := range l.all() {
		if s.host != "" && h.name != s.host {
			continue
		}
		h.mu.Lock()
		tallies := slices.Clone(h.past)
		if h.row != nil {
			tallies = append(tallies, h.row)
		}
		for _, t := range tallies {
			if p := (place{t.hour, h.name}); s.has(p) {
				sources = append(sources, source{p, t.whole, func() (*Row, error) {
					h.mu.Lock()
					defer h.mu.Unlock()
					return l.rowOf(h, t), nil
				}})
			}
		}
		h.mu.Unlock()
	}
	return sources
}
