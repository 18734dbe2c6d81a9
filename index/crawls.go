package index

import (
	"context"
	"encoding/binary"
	"fmt"
	"time"
)

// CrawlSource says who asked for a host to be crawled. Part of the format.
type CrawlSource byte

// The sources.
const (
	CrawlByOperator CrawlSource = 1
	CrawlByPull     CrawlSource = 2 // another relay lists it
	CrawlByRequest  CrawlSource = 3 // requestCrawl
	CrawlByLog      CrawlSource = 4 // the log has events of it, and nobody remembers more
)

// String names the source as people write it.
func (s CrawlSource) String() string {
	switch s {
	case CrawlByOperator:
		return "operator"
	case CrawlByPull:
		return "pull"
	case CrawlByRequest:
		return "requestCrawl"
	case CrawlByLog:
		return "log"
	}
	return fmt.Sprintf("source %d", byte(s))
}

// Crawl is a host that is crawled, and why. It is a memory, not derived: an index that
// is lost or discarded loses it, and with it the hosts that never sent an event.
// Times are kept in whole seconds.
type Crawl struct {
	Name      string // as the log writes it
	By        CrawlSource
	Plain     bool      // http, on an operator's word
	Requested time.Time // first
	Connected time.Time // last; zero for never
	LastError string    // of the last attempt, "" when it was well; cut at 200 bytes
}

const maxCrawlError = 200

const crawlPlain = 1 << 0 // the bits of the first byte but the source's

func (c *Crawl) append(dst []byte) []byte {
	flags := byte(0)
	if c.Plain {
		flags |= crawlPlain
	}
	dst = append(dst, flags, byte(c.By))
	dst = binary.AppendUvarint(dst, unixSeconds(c.Requested))
	dst = binary.AppendUvarint(dst, unixSeconds(c.Connected))
	return appendString(dst, c.LastError[:min(len(c.LastError), maxCrawlError)])
}

func (c *Crawl) decode(value []byte) error {
	d := decoder{b: value}
	c.Plain = d.byte()&crawlPlain != 0
	c.By = CrawlSource(d.byte())
	c.Requested, c.Connected = fromUnix(d.uint()), fromUnix(d.uint())
	c.LastError = string(d.bytes())
	return d.done()
}

// unixSeconds is a time in a value: 0 for none.
func unixSeconds(t time.Time) uint64 { return uint64(max(0, t.Unix())) }

func fromUnix(s uint64) time.Time {
	if s == 0 || s > 1<<40 {
		return time.Time{}
	}
	return time.Unix(int64(s), 0).UTC()
}

// PutCrawl remembers a host, or what changed about it. It is not synced; see Persist.
func (x *Index) PutCrawl(ctx context.Context, c *Crawl) error {
	b := x.NewBatch()
	defer b.Close()
	b.set(append(b.key[:0], spaceCrawl), c.Name, c.append(b.value[:0]))
	if err := b.commit(ctx); err != nil {
		return fmt.Errorf("index: crawl of %s: %w", c.Name, err)
	}
	return nil
}

// Crawls returns all hosts that are remembered, by name.
func (x *Index) Crawls() ([]Crawl, error) {
	var crawls []Crawl
	err := x.each(span(spaceCrawl), func(key, value []byte) error {
		c := Crawl{Name: string(key[1:])}
		err := c.decode(value)
		crawls = append(crawls, c)
		return err
	})
	return crawls, err
}
