package downloads

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"net/http"
	"slices"

	"github.com/cistern-archive/cistern/segmentlog/ship"
)

//go:embed page.html
var pages embed.FS

var page = template.Must(template.New("page.html").Funcs(template.FuncMap{"bytes": humanBytes, "count": humanCount}).ParseFS(pages, "page.html"))

// dayLine is a day on the page.
type dayLine struct {
	Day      ship.Day
	Segments int
	Records  uint64
	Bytes    int64
	First    uint64
	Last     uint64
	Percent  int // of the largest day's bytes
}

type pageData struct {
	Host, Stream string
	Epochs       int
	Total        dayLine
	Days         []dayLine
}

func (h *handler) page(w http.ResponseWriter, r *http.Request) {
	stream := h.o.Stream()
	d := pageData{Host: r.Host, Stream: stream.ID, Epochs: len(stream.Epochs)}
	for _, e := range h.o.Catalog("", "") {
		if n := len(d.Days); n == 0 || d.Days[n-1].Day != e.Day() {
			d.Days = append(d.Days, dayLine{Day: e.Day(), First: e.Name.FirstSeq})
		}
		for _, l := range []*dayLine{&d.Days[len(d.Days)-1], &d.Total} {
			l.Segments++
			l.Records += e.Records
			l.Bytes += e.Bytes
			l.Last = e.Name.LastSeq
		}
	}
	largest := int64(1)
	for _, l := range d.Days {
		largest = max(largest, l.Bytes)
	}
	for i := range d.Days {
		d.Days[i].Percent = int(100 * d.Days[i].Bytes / largest)
	}
	slices.Reverse(d.Days)
	var b bytes.Buffer
	if err := page.Execute(&b, d); err != nil {
		h.o.Logger.Error("the page of the archive", "err", err)
		http.Error(w, "the page cannot be shown", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = w.Write(b.Bytes()) // the client left
}

func humanBytes(n int64) string {
	units := []string{"B", "kB", "MB", "GB", "TB", "PB"}
	v, i := float64(n), 0
	for v >= 1000 && i < len(units)-1 {
		v /= 1000
		i++
	}
	if i == 0 {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f %s", v, units[i])
}

// humanCount groups digits by three.
func humanCount(n uint64) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "\u202f" + s[i:]
	}
	return s
}
