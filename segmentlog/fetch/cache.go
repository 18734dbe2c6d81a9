package fetch

import (
	"container/list"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"strings"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
)

const (
	partSuffix = ".part"
	// maxOpen bounds the cache files that are kept open, but for those being read.
	maxOpen = 256
)

// errNoRoom: all that is cached is being read.
var errNoRoom = errors.New("every cached part is being read")

// partID names a part: the bytes from index*PartBytes of an object of that size.
type partID struct {
	key   string
	size  int64
	index int64
}

// cache is the folder of parts. A part is a file that is written once and never synced.
type cache struct {
	fs      vfs.FS
	dir     string
	limit   int64 // bytes of all files
	maxOpen int
	log     *slog.Logger

	mu      sync.Mutex
	unused  sync.Cond // users became 0
	parts   map[partID]*part
	byUse   list.List // of *part in parts, the latest first
	open    list.List // of *part with a file, the latest first
	bytes   int64     // of all files, those being written and removed too
	leaving int64     // of bytes: evicted, being removed
	users   int       // who read or remove files; end waits for them
	named   uint64    // files
}

// part is a file of the cache. Its fields are guarded by the cache's mutex, but for what
// never changes.
type part struct {
	id    partID
	path  string
	bytes int64

	readers int
	dropped bool // not in parts any more: the last reader removes it
	evicted bool // counts in leaving
	use     *list.Element
	file    vfs.File // nil when it is not open
	opened  *list.Element
}

// partOf returns a list's value: the lists hold nothing but parts.
func partOf(e *list.Element) *part {
	p, _ := e.Value.(*part)
	return p
}

// openCache makes the folder, or empties one that holds nothing else.
func openCache(o *Options) (*cache, error) {
	c := &cache{fs: o.FS, dir: o.Dir, limit: o.CacheBytes, maxOpen: maxOpen, log: o.Logger, parts: map[partID]*part{}}
	c.unused.L = &c.mu
	if err := c.fs.MkdirAll(c.dir, 0o755); err != nil {
		return nil, err
	}
	names, err := c.fs.List(c.dir)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		if !strings.HasSuffix(name, partSuffix) {
			return nil, fmt.Errorf("the folder %s holds %s, which is no part of a cache: give it one of its own", c.dir, name)
		}
	}
	for _, name := range names {
		if err := c.fs.Remove(c.fs.PathJoin(c.dir, name)); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// pin returns a part that is cached, which stays until unpin, and its file if that is
// open; else nil. mu is held.
func (c *cache) pin(id partID) (*part, vfs.File) {
	p := c.parts[id]
	if p == nil {
		return nil, nil
	}
	p.readers++
	c.users++
	c.byUse.MoveToFront(p.use)
	if p.file != nil {
		c.open.MoveToFront(p.opened)
	}
	return p, p.file
}

// unpin lets a part go. The last reader of one that was dropped removes it.
func (c *cache) unpin(p *part) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p.readers--
	if p.dropped && p.readers == 0 {
		c.mu.Unlock()
		c.discard(p)
		c.mu.Lock()
	}
	c.leave()
}

// leave says that a user is done. mu is held.
func (c *cache) leave() {
	if c.users--; c.users == 0 {
		c.unused.Broadcast()
	}
}

// read fills b from a pinned part at off; f is the file that pin returned.
func (c *cache) read(p *part, f vfs.File, b []byte, off int64) error {
	if f == nil {
		var err error
		if f, err = c.reopen(p); err != nil {
			return err
		}
	}
	n, err := f.ReadAt(b, off)
	if n == len(b) {
		return nil
	}
	return err
}

// reopen opens a pinned part's file, unless another reader has by now.
func (c *cache) reopen(p *part) (vfs.File, error) {
	f, err := c.fs.Open(p.path)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	spare := f
	if p.file == nil {
		spare = c.keepOpen(p, f)
	}
	f = p.file
	c.mu.Unlock()
	if spare != nil {
		c.close(spare)
	}
	return f, nil
}

// keepOpen keeps a part's file open and returns one to close for it, nil for none. mu is
// held.
func (c *cache) keepOpen(p *part, f vfs.File) (spare vfs.File) {
	p.file, p.opened = f, c.open.PushFront(p)
	if c.open.Len() <= c.maxOpen {
		return nil
	}
	for e := c.open.Back(); e != nil; e = e.Prev() {
		if q := partOf(e); q != p && q.readers == 0 {
			return c.takeFile(q)
		}
	}
	return nil
}

// takeFile returns a part's open file, nil for none, and forgets it. mu is held.
func (c *cache) takeFile(p *part) vfs.File {
	f := p.file
	if f != nil {
		c.open.Remove(p.opened)
		p.file, p.opened = nil, nil
	}
	return f
}

func (c *cache) close(f vfs.File) {
	if err := f.Close(); err != nil {
		c.log.Warn("a file of the cache could not be closed", "dir", c.dir, "err", err)
	}
}

// write makes a part's file, for which others go. It is not found before insert.
func (c *cache) write(id partID, b []byte) (*part, error) {
	p := &part{id: id, bytes: int64(len(b))}
	c.mu.Lock()
	evicted, ok := c.reserve(p.bytes)
	c.named++
	p.path = c.fs.PathJoin(c.dir, fmt.Sprintf("%08x%s", c.named, partSuffix))
	c.mu.Unlock()
	for _, q := range evicted {
		c.discard(q)
	}
	if !ok {
		return nil, errNoRoom
	}
	f, err := c.create(p.path, b)
	if err != nil {
		c.discard(p)
		return nil, err
	}
	c.mu.Lock()
	spare := c.keepOpen(p, f)
	c.mu.Unlock()
	if spare != nil {
		c.close(spare)
	}
	return p, nil
}

// create writes a file and leaves it open. WriteAt is used, as Write may change b, which
// others read.
func (c *cache) create(path string, b []byte) (vfs.File, error) {
	f, err := c.fs.OpenReadWrite(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return nil, err
	}
	if _, err := f.WriteAt(b, 0); err != nil {
		c.close(f)
		return nil, err
	}
	return f, nil
}

// reserve counts n bytes more and returns what has to go for them; false when there is
// no room even so. mu is held.
func (c *cache) reserve(n int64) (evicted []*part, ok bool) {
	e := c.byUse.Back()
	for c.bytes-c.leaving+n > c.limit {
		for e != nil && partOf(e).readers > 0 {
			e = e.Prev()
		}
		if e == nil {
			return evicted, false
		}
		p := partOf(e)
		e = e.Prev()
		c.drop(p)
		p.evicted = true
		c.leaving += p.bytes
		evicted = append(evicted, p)
	}
	c.bytes += n
	return evicted, true
}

// insert lets a written part be found. mu is held.
func (c *cache) insert(p *part) {
	p.use = c.byUse.PushFront(p)
	c.parts[p.id] = p
}

// drop lets a part not be found any more. Who calls it discards the part if it has no
// readers; else the last of them does. mu is held.
func (c *cache) drop(p *part) {
	if p.dropped {
		return
	}
	p.dropped = true
	c.byUse.Remove(p.use)
	delete(c.parts, p.id)
}

// discard removes a part's file that nobody reads or will. A file that cannot be removed
// goes on counting.
func (c *cache) discard(p *part) {
	c.mu.Lock()
	f := c.takeFile(p)
	c.mu.Unlock()
	if f != nil {
		c.close(f)
	}
	err := c.fs.Remove(p.path)
	gone := err == nil || errors.Is(err, fs.ErrNotExist)
	if !gone {
		c.log.Error("a file of the cache could not be removed", "path", p.path, "err", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if p.evicted {
		c.leaving -= p.bytes
	}
	if gone {
		c.bytes -= p.bytes
	}
}

// end waits for the users and removes all parts and the folder. Nobody pins,
// writes or forgets any more.
func (c *cache) end() error {
	c.mu.Lock()
	for c.users > 0 {
		c.unused.Wait()
	}
	var all []*part
	for _, p := range c.parts {
		all = append(all, p)
	}
	for _, p := range all {
		c.drop(p)
	}
	c.mu.Unlock()
	for _, p := range all {
		c.discard(p)
	}
	return c.fs.Remove(c.dir)
}
