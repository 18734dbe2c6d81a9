package identity

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/atcrypto"

	"github.com/cistern-archive/cistern/internal/signing"
)

func plcDID(i int) string { return fmt.Sprintf("did:plc:%024d", i) }

// keyFor returns a key of a curve.
func keyFor(t testing.TB, curve string) *signing.Key {
	t.Helper()
	k, err := signing.FromPublic(publicKeyOf(t, curve))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// reparsed is a copy of a key that shares nothing with it.
func reparsed(t testing.TB, k *signing.Key) *signing.Key {
	t.Helper()
	k, err := signing.ParseMulticodec(k.Multicodec())
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func knownOf(did, host string, key *signing.Key) *known {
	return &known{id: Identity{DID: did, Host: host, Key: key, Hash: [32]byte{1}}}
}

func TestTheCacheStaysWithinItsBudgetAndKeepsWhatIsUsed(t *testing.T) {
	key := keyFor(t, "k256")
	one := sizeOf(knownOf(plcDID(0), "pds.example", key))
	c := newCache(16 * 40 * one)
	for i := range 5000 {
		now := time.Duration(i)
		c.put(plcDID(i), knownOf(plcDID(i), "pds.example", key), now)
		c.get(plcDID(0), now) // the first is used all the time
	}
	for i := range c.shards {
		if s := &c.shards[i]; s.bytes > s.budget {
			t.Errorf("shard %d holds %d bytes of %d", i, s.bytes, s.budget)
		}
	}
	n, bytes := c.size()
	if n < 16*20 || int64(n)*one < bytes {
		t.Errorf("%d entries of %d bytes at most in %d", n, one, bytes)
	}
	if _, ok := c.get(plcDID(0), 5000); !ok {
		t.Error("the entry in constant use was evicted")
	}
	for i := range 5000 { // whatever goes, its bytes go with it
		s := c.shard(plcDID(i))
		for len(s.documents) > 0 {
			s.evictDocument(plcID{})
		}
	}
	if n, bytes := c.size(); n != 0 || bytes != 0 {
		t.Errorf("%d bytes of %d entries are left", bytes, n)
	}
}

func TestAnEntryThatIsReplacedCountsOnce(t *testing.T) {
	c := newCache(1 << 20)
	c.put(someDID, knownOf(someDID, strings.Repeat("h", 100), keyFor(t, "p256")), 0)
	c.put(someDID, &known{id: Identity{DID: someDID}, err: final(unusable("no key"))}, 0)
	o := c.shard(someDID).others[someDID]
	if n, bytes := c.size(); n != 1 || bytes != o.size(someDID) {
		t.Errorf("%d entries in %d bytes, want one of %d", n, bytes, o.size(someDID))
	}
	c.put(someDID, knownOf(someDID, "h", keyFor(t, "p256")), 0)
	if n, bytes := c.size(); n != 1 || bytes != documentBytes+hostBytes+1 {
		t.Errorf("%d entries in %d bytes, want one of %d", n, bytes, documentBytes+hostBytes+1)
	}
}

// Strangers can ask for any number of DIDs that do not exist.
func TestAnswersWithoutADocumentPushNoDocumentOut(t *testing.T) {
	key := keyFor(t, "k256")
	c := newCache(16 * 160 * sizeOf(knownOf(plcDID(0), "pds.example", key)))
	for i := range 1000 {
		c.put(plcDID(i), knownOf(plcDID(i), "pds.example", key), 0)
	}
	gone := &known{err: final(fmt.Errorf("%w: HTTP 404", ErrGone))}
	for i := range 50_000 {
		c.put(plcDID(1_000_000+i), gone, time.Duration(i))
	}
	for i := range 1000 {
		if _, ok := c.get(plcDID(i), 0); !ok {
			t.Fatalf("document %d was pushed out", i)
		}
	}
	if _, ok := c.get(plcDID(1_000_000+49_999), 0); !ok {
		t.Error("the last answer is not remembered")
	}
}

// sizeOf is what an entry is counted as.
func sizeOf(k *known) int64 {
	c := newCache(1 << 30)
	c.put(k.id.DID, k, 0)
	_, n := c.size()
	return n
}

func TestAReasonThatIsRememberedIsShort(t *testing.T) {
	long := documentOf(t, someDID, strings.Repeat("é", 20_000), map[string]string{})
	_, err := parseDocument(someDID, []byte(long))
	if !errors.Is(err, ErrUnusable) || len(err.Error()) < 20_000 {
		t.Fatalf("the document should give a long reason: %.200v", err)
	}
	short := final(err)
	if !errors.Is(short, ErrUnusable) || finalBytes(short) > maxFinalText+100 {
		t.Errorf("%d bytes: %v", finalBytes(short), short)
	}
	if err := final(fmt.Errorf("x: %w", ErrTombstone)); !errors.Is(err, ErrTombstone) || !errors.Is(err, ErrGone) {
		t.Errorf("%v is no tombstone any more", err)
	}
}

func TestAHostIsNoLongerThanANameMayBe(t *testing.T) {
	if _, err := HostOf("https://" + strings.Repeat("a", 254)); err == nil {
		t.Error("254 bytes were taken for a name")
	}
	if host, err := HostOf("https://" + strings.Repeat("a", 253) + ":65535"); err != nil || len(host) != maxHost {
		t.Errorf("%d bytes, %v", len(host), err)
	}
}

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// What the cache counts must be near what it takes, or its budget means nothing.
func TestBytesAreCountedHonestly(t *testing.T) {
	const n = 10_000
	k256, p256 := keyFor(t, "k256"), keyFor(t, "p256")
	for name, make := range map[string]func(i int) *known{
		"k256, a host for thousands": func(i int) *known {
			return knownOf(plcDID(i), fmt.Sprintf("pds%d.host.example", i%20), reparsed(t, k256))
		},
		"p256, a host each": func(i int) *known {
			return knownOf(plcDID(i), fmt.Sprintf("pds%d.host.example", i), reparsed(t, p256))
		},
		"gone": func(i int) *known {
			return &known{err: final(fmt.Errorf("%w: GET https://plc.directory/%s: HTTP 404", ErrGone, plcDID(i)))}
		},
		"did:web": func(i int) *known {
			return knownOf(fmt.Sprintf("did:web:%d.example.com", i), fmt.Sprintf("pds%d.host.example", i), reparsed(t, k256))
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCache(1 << 40)
			before := heap()
			for i := range n {
				k := make(i)
				did := k.id.DID
				if did == "" {
					did = plcDID(i)
				}
				c.put(did, k, 0)
			}
			took := heap() - before
			_, counted := c.size()
			t.Logf("%d bytes an entry, counted as %d", took/n, counted/n)
			if counted < took*9/10 || counted > took*8/5 {
				t.Errorf("%d entries take %d bytes and are counted as %d", n, took, counted)
			}
			runtime.KeepAlive(c)
		})
	}
}

// cpuTime is what the process has used, in nanoseconds: on a machine that others use
// as well, elapsed time says little.
func cpuTime(b *testing.B) int64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return u.Utime.Nano() + u.Stime.Nano()
}

// fillCache makes a cache of n documents.
func fillCache(b *testing.B, n int, budget int64) *cache {
	b.Helper()
	priv, err := atcrypto.GeneratePrivateKeyK256()
	if err != nil {
		b.Fatal(err)
	}
	pub, err := priv.PublicKey()
	if err != nil {
		b.Fatal(err)
	}
	key, err := signing.FromPublic(pub)
	if err != nil {
		b.Fatal(err)
	}
	c := newCache(budget)
	for i := range n {
		c.put(plcDID(i), knownOf(plcDID(i), fmt.Sprintf("pds%d.host.example", i%100), key), 0)
	}
	return c
}

func BenchmarkCached(b *testing.B) {
	for _, n := range []int{1_000, 1_000_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			r, err := New(Options{})
			if err != nil {
				b.Fatal(err)
			}
			defer r.Close()
			r.cache = fillCache(b, n, 1<<40)
			dids := make([]string, min(n, 1<<17))
			for i := range dids {
				dids[i] = plcDID(int(uint64(i) * 2654435761 % uint64(n)))
			}
			b.ReportAllocs()
			i, cpu := 0, cpuTime(b)
			for b.Loop() {
				if _, ok, _ := r.Cached(dids[i%len(dids)]); !ok {
					b.Fatal("not there")
				}
				i++
			}
			b.ReportMetric(float64(cpuTime(b)-cpu)/float64(b.N), "cpu-ns/op")
			cpu = cpuTime(b)
			runtime.GC()
			b.ReportMetric(float64(cpuTime(b)-cpu)/1e6, "cpu-ms/gc")
			_, bytes := r.cache.size()
			b.ReportMetric(float64(bytes)/float64(n), "B/entry")
		})
	}
}

// A full cache: each document that comes in sends another out.
func BenchmarkEvict(b *testing.B) {
	for _, n := range []int{1_000, 1_000_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			c := fillCache(b, n, 1<<40)
			_, bytes := c.size()
			for i := range c.shards {
				c.shards[i].budget = bytes / cacheShards
			}
			k := knownOf("", "pds1.host.example", keyFor(b, "k256"))
			i := n
			b.ReportAllocs()
			cpu := cpuTime(b)
			for b.Loop() {
				c.put(plcDID(i), k, time.Duration(i))
				i++
			}
			b.ReportMetric(float64(cpuTime(b)-cpu)/float64(b.N), "cpu-ns/op")
		})
	}
}
