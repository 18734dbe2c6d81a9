package index

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

func TestWhichHostsAreCrawledIsRememberedAndNotMixedWithOthers(t *testing.T) {
	fs := vfs.NewMem()
	x := mustOpen(t, options(fs, 100))
	at := time.Unix(1_767_225_600, 0).UTC()
	want := []Crawl{
		{Name: "127.0.0.1:2583", By: CrawlByOperator, Plain: true, Requested: at},
		{Name: "a.example", By: CrawlByRequest, Requested: at, Connected: at.Add(time.Hour), LastError: "connection refused"},
		{Name: "b.example", By: CrawlByPull, Requested: at.Add(time.Second)},
		{Name: "c.example", By: CrawlByLog},
	}
	for i := range want {
		first := want[i]
		first.LastError, first.Connected = strings.Repeat("x", 1000), time.Time{}
		must(t, x.PutCrawl(t.Context(), &first))
		must(t, x.PutCrawl(t.Context(), &want[i])) // the later word counts
	}
	b := x.NewBatch()
	b.Host(&Host{Name: "log.example", Epoch: 1, Cursor: 2})
	must(t, b.Commit(t.Context(), 1))
	mustClose(t, x)

	x = mustOpen(t, options(fs, 100))
	defer mustClose(t, x)
	got, err := x.Crawls()
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%+v, %v\nwant %+v", got, err, want)
	}
	if hosts, err := x.Hosts(); err != nil || len(hosts) != 1 {
		t.Errorf("hosts %+v, %v", hosts, err)
	}
	if x.Applied() != 1 {
		t.Errorf("remembering hosts moved the watermark to %d", x.Applied())
	}
	long := Crawl{Name: "d.example", LastError: strings.Repeat("x", 1000)}
	must(t, x.PutCrawl(t.Context(), &long))
	if got, err := x.Crawls(); err != nil || len(got[4].LastError) != maxCrawlError {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestAWriteToAStoreThatIsClosedIsAnError(t *testing.T) {
	x := mustOpen(t, options(vfs.NewMem(), 100))
	mustClose(t, x)
	if err := x.PutCrawl(context.Background(), &Crawl{Name: "a.example"}); err == nil {
		t.Error("no error")
	}
}

func FuzzCrawlDecode(f *testing.F) {
	c := Crawl{By: CrawlByRequest, Requested: time.Unix(1_767_225_600, 0), LastError: "e"}
	f.Add(c.append(nil))
	f.Fuzz(func(t *testing.T, value []byte) {
		var c Crawl
		if c.decode(value) != nil {
			return
		}
		var again Crawl
		if err := again.decode(c.append(nil)); err != nil {
			t.Fatal(err)
		}
		c.LastError = c.LastError[:min(len(c.LastError), maxCrawlError)]
		if again != c {
			t.Fatalf("%+v became %+v", c, again)
		}
	})
}
