package ledger

import (
	"cmp"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	// keptAReason is how many frames are kept of a reason …
	keptAReason = 16
	// … and how many of them may be one host's.
	keptAHost = 2
	// maxKept is how much of a frame is kept, in bytes.
	maxKept = 1 << 20
	// maxKeptDID is how much of a DID is kept, which may be any text, in bytes.
	maxKeptDID = 256
	// keepAgain is how old a host's frame must be before another of it takes its place,
	// in seconds.
	keepAgain = 60
	// keptSize is what a frame costs in memory beside its bytes.
	keptSize = 200
)

// Quarantine keeps the newest dropped frames of each reason, for the operator to look
// at. It is bounded in bytes and in how often it copies; what it does not keep costs
// nothing. A host cannot push out the frames of others by sending more of its own.
type Quarantine struct {
	limit   int64
	metrics *metrics

	mu      sync.Mutex
	shelves [maxReasons]*shelf
	bytes   int64
	serial  uint64
}

// shelf has the frames of a reason, oldest first.
type shelf struct {
	reason string
	frames []*Quarantined
	taken  int64 // Unix s when a frame was last put here
}

// Quarantined is a dropped frame.
type Quarantined struct {
	Index     uint64 // names it, as long as it is kept
	Reason    string
	Host      string
	DID       string // as the host wrote it, "" when it could not be read
	Seq       uint64 // the host's, 0 when it could not be read
	Time      time.Time
	Size      int    // of the frame as it came, or as much of it as was read
	Truncated bool   // only the beginning is kept
	Raw       []byte // must not be changed
}

func newQuarantine(limit int64, m *metrics) *Quarantine {
	return &Quarantine{limit: limit, metrics: m}
}

// offer keeps a frame, if it is time to. number is that of the reason.
func (q *Quarantine) offer(host, reason string, number uint8, now int64, f Frame) {
	size := min(len(f.Raw), maxKept)
	if q.limit < int64(size)+keptSize {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	s := q.shelves[number]
	if s == nil {
		if number < numOutcomes {
			reason = Other
		}
		s = &shelf{reason: reason}
		q.shelves[number] = s
	}
	if !s.room(host, now) {
		return
	}
	q.serial++
	k := &Quarantined{
		Index: q.serial, Reason: s.reason, Host: host, Seq: f.Seq, Time: time.Unix(now, 0).UTC(),
		DID: strings.Clone(f.DID[:min(len(f.DID), maxKeptDID)]), Size: len(f.Raw), Truncated: size < len(f.Raw),
		Raw: slices.Clone(f.Raw[:size]),
	}
	if gone := s.leaving(host); gone >= 0 {
		q.remove(s, gone)
	}
	s.frames = append(s.frames, k)
	q.bytes += k.size()
	for q.bytes > q.limit {
		q.evict()
	}
	q.metrics.kept.Inc()
	q.report()
}

func (k *Quarantined) size() int64 { return int64(len(k.Raw)+len(k.DID)) + keptSize }

// room says whether a frame of the host may be put here now, and notes that it is. A
// host that has its share may renew it, seldom; that takes no turn of the others.
func (s *shelf) room(host string, now int64) bool {
	n, newest := 0, int64(0)
	for _, k := range s.frames {
		if k.Host == host {
			n, newest = n+1, k.Time.Unix()
		}
	}
	switch {
	case n >= keptAHost:
		return now < newest || now-newest >= keepAgain
	case s.taken == now:
		return false
	}
	s.taken = now
	return true
}

// leaving picks the frame whose place a new one of the host takes, -1 for none: the
// host's own oldest when it has its share, else the oldest of a host that has most.
func (s *shelf) leaving(host string) int {
	counts := make(map[string]int, len(s.frames))
	for _, k := range s.frames {
		counts[k.Host]++
	}
	if counts[host] >= keptAHost {
		return slices.IndexFunc(s.frames, func(k *Quarantined) bool { return k.Host == host })
	}
	if len(s.frames) < keptAReason {
		return -1
	}
	most := 0
	for i, k := range s.frames {
		if counts[k.Host] > counts[s.frames[most].Host] {
			most = i
		}
	}
	return most
}

// evict removes the oldest frame of the host whose frames are largest together.
func (q *Quarantine) evict() {
	sums := make(map[string]int64)
	for _, s := range q.shelves {
		if s != nil {
			for _, k := range s.frames {
				sums[k.Host] += k.size()
			}
		}
	}
	var from *shelf
	at := 0
	for _, s := range q.shelves {
		if s == nil {
			continue
		}
		for i, k := range s.frames {
			best := from == nil
			if !best {
				was := from.frames[at]
				best = cmp.Or(cmp.Compare(sums[k.Host], sums[was.Host]), cmp.Compare(was.Index, k.Index)) > 0
			}
			if best {
				from, at = s, i
			}
		}
	}
	if from != nil {
		q.remove(from, at)
	}
}

func (q *Quarantine) remove(s *shelf, i int) {
	q.bytes -= s.frames[i].size()
	s.frames = slices.Delete(s.frames, i, i+1)
}

func (q *Quarantine) report() {
	n := 0
	for _, s := range q.shelves {
		if s != nil {
			n += len(s.frames)
		}
	}
	q.metrics.quarantined.Set(float64(n))
	q.metrics.quarantinedBytes.Set(float64(q.bytes))
}

// List returns what is kept, of one reason or of all (""), newest first.
func (q *Quarantine) List(reason string) []*Quarantined {
	q.mu.Lock()
	defer q.mu.Unlock()
	list := []*Quarantined{}
	for _, s := range q.shelves {
		if s != nil && (reason == "" || s.reason == reason) {
			list = append(list, s.frames...)
		}
	}
	slices.SortFunc(list, func(a, b *Quarantined) int { return cmp.Compare(b.Index, a.Index) })
	return list
}
