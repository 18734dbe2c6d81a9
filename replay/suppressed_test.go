package replay

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/cistern-archive/cistern/segmentlog"
	"github.com/cistern-archive/cistern/segmentlog/dagcbor"
)

// frameParts returns what stands before and after the seq of a frame of this kind. filler
// makes it longer.
func frameParts(kind, did string, active bool, filler int) (head, tail []byte) {
	b := dagcbor.AppendHead(nil, dagcbor.MajorMap, 2)
	b = dagcbor.AppendText(dagcbor.AppendText(b, "t"), kind)
	b = dagcbor.AppendUint(dagcbor.AppendText(b, "op"), 1)
	b = dagcbor.AppendHead(b, dagcbor.MajorMap, 4)
	b = dagcbor.AppendText(dagcbor.AppendText(b, "did"), did)
	b = dagcbor.AppendText(b, "seq")
	t := dagcbor.AppendBytes(dagcbor.AppendText(nil, "fill"), make([]byte, filler))
	return b, dagcbor.AppendBool(dagcbor.AppendText(t, "active"), active)
}

func (g *rig) event(kind, did string, active bool, filler int) uint64 {
	g.t.Helper()
	head, tail := frameParts(kind, did, active, filler)
	seq, err := g.log.Append(context.Background(), &segmentlog.Entry{DID: did, Host: "h", HostSeq: uint64(g.next), Head: head, Tail: tail})
	if err != nil {
		g.t.Fatal(err)
	}
	g.next++
	g.waitFor(g.next)
	return seq
}

// events reads what a reader with these suppressed would be sent up to seq last, and
// returns the seqs.
func (g *rig) sent(after, last uint64) (seqs []uint64) {
	g.t.Helper()
	r := g.src.NewReader(after)
	defer r.Close()
	for r.Position() < last {
		b, err := r.Next(g.t.Context())
		if err != nil {
			g.t.Fatal(err)
		}
		spans, events := b.wire(nil, g.suppressed, 0)
		var wire []byte
		for _, s := range spans {
			wire = append(wire, b.run.buf[s.begin:s.end]...)
		}
		var want []byte
		for i := b.from; i < b.to; i++ {
			if e := b.run.events[i]; e.key == 0 || !g.suppressed.now.Load().has(e.key) {
				want = append(want, b.run.buf[b.run.begin(i):e.end]...)
				seqs = append(seqs, e.seq)
				events--
			}
		}
		if events != 0 || !bytes.Equal(wire, want) {
			g.t.Fatalf("what is written differs from the events that are not suppressed (%d more)", events)
		}
	}
	return seqs
}

func TestCommitsOfAnAccountThatIsNotActiveAreNotSentFromAnyTierAndItsStatusIs(t *testing.T) {
	for _, tier := range []string{"memory", "disk"} {
		t.Run(tier, func(t *testing.T) {
			dir := t.TempDir()
			g := &rig{t: t, suppressed: NewSuppressed()}
			g.cond.L = &g.mu
			g.open(dir, 1<<20, nil)
			defer func() { g.close() }()
			a, b := "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa", "did:plc:bbbbbbbbbbbbbbbbbbbbbbbb"
			var want []uint64
			for range 20 {
				g.event("#commit", a, false, 100)
				g.event("#sync", a, false, 100)
				want = append(want, g.event("#commit", b, false, 100), g.event("#identity", a, false, 10))
			}
			want = append(want, g.event("#account", a, false, 10), g.event("#commit", b, false, 100))
			last := g.event("#commit", a, true, 100)
			if tier == "disk" {
				g.close()
				g.open(dir, 1<<20, nil)
				g.clean = false
			}
			if !g.suppressed.Has(a) || g.suppressed.Has(b) || g.suppressed.Len() != 1 {
				t.Fatalf("%d accounts are suppressed", g.suppressed.Len())
			}
			if got := g.sent(0, last); fmt.Sprint(got) != fmt.Sprint(want) {
				t.Fatalf("sent %v, want %v", got, want)
			}
			active := g.event("#account", a, true, 10)
			all := g.sent(0, active)
			if len(all) != g.next {
				t.Fatalf("%d events of %d once the account is active again", len(all), g.next)
			}
		})
	}
}

func TestASkipListIsMadeAgainWhenTheSetChanges(t *testing.T) {
	r := &run{}
	dids := make([][]byte, 200)
	for i := range dids {
		dids[i] = fmt.Appendf(nil, "did:plc:%d", i)
		head, tail := frameParts("#commit", string(dids[i]), true, 5)
		r.add(uint64(i+1), dids[i], append(head, tail...), 0)
		if i == 99 {
			r.publish()
		}
	}
	s := NewSuppressed()
	if got := r.skipped(s, 0, 100); len(got) != 0 {
		t.Fatalf("skips %v of an empty set", got)
	}
	s.Set(dids[7], true)
	s.Set(dids[150], true)
	if got := r.skipped(s, 0, 100); fmt.Sprint(got) != "[7]" {
		t.Fatalf("skips %v, want 7", got)
	}
	r.publish()
	if got := r.skipped(s, 50, 200); fmt.Sprint(got) != "[150]" {
		t.Fatalf("skips %v, want 150", got)
	}
	s.Set(dids[7], false)
	if got := r.skipped(s, 0, 200); fmt.Sprint(got) != "[150]" {
		t.Fatalf("skips %v, want 150", got)
	}
}

func TestTheSetIsWhatWasPutIntoItHoweverOftenItIsMerged(t *testing.T) {
	rng := rand.New(rand.NewPCG(seed(t), 0))
	s, truth := NewSuppressed(), map[string]bool{}
	did := func() string { return fmt.Sprint("did:plc:", rng.IntN(20_000)) }
	if err := s.Fill(func(add func([]byte)) error {
		for range 5000 {
			d := did()
			add([]byte(d))
			truth[d] = true
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	merges := 0
	for range 20_000 {
		d, in := did(), rng.IntN(2) == 0
		before := len(s.now.Load().added) + len(s.now.Load().removed)
		s.Set([]byte(d), in)
		if len(s.now.Load().added)+len(s.now.Load().removed) < before-1 {
			merges++
		}
		if truth[d] = in; !in {
			delete(truth, d)
		}
	}
	if merges < 2 {
		t.Fatalf("merged %d times", merges)
	}
	if s.Len() != len(truth) {
		t.Fatalf("%d accounts, want %d", s.Len(), len(truth))
	}
	for i := range 20_000 {
		if d := fmt.Sprint("did:plc:", i); s.Has(d) != truth[d] {
			t.Fatalf("%s: %v", d, s.Has(d))
		}
	}
}

func FuzzAccountStatus(f *testing.F) {
	for _, kind := range []string{"#account", "#commit", "#identity"} {
		head, tail := frameParts(kind, "did:plc:x", true, 4)
		f.Add(append(append(head, 1), tail...))
	}
	f.Add([]byte("\xa2ath#accountbop\x01"))
	f.Fuzz(func(t *testing.T, frame []byte) {
		_, ok := accountStatus(frame)
		if ok != (kindOf(frame) == "#account") {
			t.Fatalf("an #account: %v, kind %q", ok, kindOf(frame))
		}
		if key := suppressKey([]byte("did:plc:x"), frame); key == 0 && !ok && kindOf(frame) != "#identity" {
			t.Fatalf("%q is never suppressed", kindOf(frame))
		}
	})
}

func BenchmarkSuppressed(b *testing.B) {
	s := NewSuppressed()
	if err := s.Fill(func(add func([]byte)) error {
		for i := range 5_000_000 {
			add(fmt.Appendf(nil, "did:plc:%d", i))
		}
		return nil
	}); err != nil {
		b.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	keys := make([]uint64, 1<<16)
	for i := range keys {
		keys[i] = rng.Uint64()
	}
	set, i := s.now.Load(), 0
	for b.Loop() {
		set.has(keys[i%len(keys)])
		i++
	}
	b.ReportMetric(float64(8*len(set.sorted)+4*len(set.starts))/float64(s.Len()), "bytes/account")
}
