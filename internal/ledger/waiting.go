package ledger

// waiting holds the rows of past hours until they are stored, as values, which are
// small. It is used under Ledger.moving.
type waiting struct {
	limit int64
	bytes int64
	rows  map[string]*waitingRow // by key
}

// waitingRow is a row that is not counted any more.
type waitingRow struct {
	value []byte
	whole bool // it has what the store has of it
}

// waitingSize is what a row costs in memory beside its key and value, in bytes.
const waitingSize = 150

func (w *waiting) init(limit int64) {
	w.limit = limit
	w.rows = make(map[string]*waitingRow)
}

// put adds a row, or adds it to what waits under its key. Whole may be one of the two,
// not both (Ledger.base).
func (w *waiting) put(row *Row, whole bool) {
	key := string(appendKey(nil, row.Hour, row.Host))
	if old, ok := w.take(key, row.Hour, row.Host); ok {
		whole = whole || old.whole
		old.row.add(row)
		row = old.row
	}
	value := appendRow(nil, row)
	w.rows[key] = &waitingRow{value: value, whole: whole}
	w.bytes += rowSize(key, value)
}

func rowSize(key string, value []byte) int64 { return int64(len(key)+len(value)) + waitingSize }

type taken struct {
	row   *Row
	whole bool
}

// take takes the row of a key out.
func (w *waiting) take(key string, hour int64, host string) (taken, bool) {
	e, ok := w.rows[key]
	if !ok {
		return taken{}, false
	}
	w.remove(key)
	row := &Row{Host: host, Hour: hour}
	if err := decodeRow(e.value, row); err != nil {
		return taken{}, false // it is our own value: that cannot be
	}
	return taken{row, e.whole}, true
}

func (w *waiting) remove(key string) {
	if e, ok := w.rows[key]; ok {
		w.bytes -= rowSize(key, e.value)
		delete(w.rows, key)
	}
}

// shrink gives up the oldest hours beyond the bound, and says how many rows that were.
func (w *waiting) shrink() (lost int) {
	for w.bytes > w.limit {
		oldest := ""
		for key := range w.rows {
			if oldest == "" || key[:8] < oldest {
				oldest = key[:8]
			}
		}
		for key := range w.rows {
			if key[:8] == oldest {
				w.remove(key)
				lost++
			}
		}
	}
	return lost
}
