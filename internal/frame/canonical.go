package frame

import (
	"bytes"
	"errors"
	"slices"
	"unicode/utf8"

	"github.com/cistern-archive/cistern/segmentlog/dagcbor"
)

// errTangled is said of input that would take more than linear work to put in
// order: deeply nested items that each have to be moved whole.
var errTangled = errors.New("frame: too much to rearrange")

// tangleLimit bounds the bytes moved while re-encoding, in bytes for each byte of
// input. A frame with every map unsorted and indefinite needs 3 for a level of
// nesting, and the lexicon's has two levels beyond the payload.
const tangleLimit = 16

// canonical encodes a readable frame canonically: shortest heads, definite
// lengths, sorted keys. What it cannot read without guessing is an error of package
// dagcbor. Of a message of unknown kind only the header is given back. The caller
// scans the result, so that this need not judge integers or fields.
//
// T6, data-model.
func canonical(raw []byte) ([]byte, error) {
	t := transcoder{src: raw, out: make([]byte, 0, len(raw)+64), budget: tangleLimit*len(raw) + 1024}
	if err := t.item(0); err != nil {
		return nil, err
	}
	var head Event
	s := scanner{r: dagcbor.Reader{Buf: t.out, DataModel: true}, ev: &head}
	if err := s.header(); err != nil {
		return nil, err
	}
	if head.Kind == Unknown {
		return t.out, nil
	}
	if err := t.item(0); err != nil {
		return nil, err
	}
	if t.off != len(raw) {
		return nil, dagcbor.ErrTrailing
	}
	return t.out, nil
}

// transcoder reads CBOR leniently from src and appends it canonically to out.
type transcoder struct {
	src    []byte
	off    int
	out    []byte
	pairs  []pair // of all maps being read, innermost last
	budget int    // how many bytes may still be moved within out
}

// pair is where one pair of a map stands in out. Frames are shorter than MaxFrame.
type pair struct{ key, value, end uint32 }

// lead is a head as it came.
type lead struct {
	major      byte
	arg        uint64
	indefinite bool
}

// breakByte ends an item of indefinite length.
const breakByte = 0xff

func (t *transcoder) head() (lead, error) {
	if t.off >= len(t.src) {
		return lead{}, dagcbor.ErrTruncated
	}
	b := t.src[t.off]
	h := lead{major: b >> 5, arg: uint64(b & 31)}
	if h.major == dagcbor.MajorOther {
		r := dagcbor.Reader{Buf: t.src, Off: t.off}
		_, arg, err := r.Head()
		t.off, h.arg = r.Off, arg
		return h, err
	}
	t.off++
	switch {
	case h.arg < 24:
		return h, nil
	case h.arg == 31 && h.major >= dagcbor.MajorBytes && h.major <= dagcbor.MajorMap:
		h.indefinite = true
		return h, nil
	case h.arg > 27:
		return h, dagcbor.ErrMalformed
	}
	n := 1 << (h.arg - 24)
	if n > len(t.src)-t.off {
		return h, dagcbor.ErrTruncated
	}
	h.arg = 0
	for _, c := range t.src[t.off : t.off+n] {
		h.arg = h.arg<<8 | uint64(c)
	}
	t.off += n
	return h, nil
}

// ended consumes a break when it is next.
func (t *transcoder) ended() bool {
	if t.off < len(t.src) && t.src[t.off] == breakByte {
		t.off++
		return true
	}
	return false
}

// item moves one whole item from src to out.
func (t *transcoder) item(depth int) error {
	if depth > dagcbor.MaxDepth {
		return dagcbor.ErrDepth
	}
	h, err := t.head()
	if err != nil {
		return err
	}
	switch h.major {
	case dagcbor.MajorBytes, dagcbor.MajorText:
		return t.str(h)
	case dagcbor.MajorArray:
		return t.array(h, depth)
	case dagcbor.MajorMap:
		return t.mapping(h, depth)
	case dagcbor.MajorTag:
		return t.link(h)
	case dagcbor.MajorOther:
		t.out = dagcbor.AppendHead(t.out, dagcbor.MajorOther, h.arg)
		return nil
	}
	t.out = dagcbor.AppendHead(t.out, h.major, h.arg)
	return nil
}

// str moves a string whose head has been read. Each chunk of an indefinite text
// must be UTF-8 by itself (RFC 8949, section 3.2.3).
func (t *transcoder) str(h lead) error {
	if !h.indefinite {
		t.out = dagcbor.AppendHead(t.out, h.major, h.arg)
		return t.chunk(h)
	}
	start := len(t.out)
	for !t.ended() {
		c, err := t.head()
		if err != nil {
			return err
		}
		if c.major != h.major || c.indefinite {
			return dagcbor.ErrMalformed
		}
		if err := t.chunk(c); err != nil {
			return err
		}
	}
	return t.insertHead(start, h.major, len(t.out)-start)
}

// chunk moves the content of a definite string.
func (t *transcoder) chunk(h lead) error {
	if h.arg > uint64(len(t.src)-t.off) {
		return dagcbor.ErrTruncated
	}
	b := t.src[t.off : t.off+int(h.arg)]
	if h.major == dagcbor.MajorText && !utf8.Valid(b) {
		return dagcbor.ErrUTF8
	}
	t.out = append(t.out, b...)
	t.off += len(b)
	return nil
}

// link moves tag 42 and its byte string, which may come in chunks.
func (t *transcoder) link(h lead) error {
	if h.arg != 42 {
		return dagcbor.ErrTag
	}
	start := len(t.out)
	t.out = dagcbor.AppendHead(t.out, dagcbor.MajorTag, 42)
	c, err := t.head()
	if err != nil {
		return err
	}
	if c.major != dagcbor.MajorBytes {
		return dagcbor.ErrTag
	}
	if err := t.str(c); err != nil {
		return err
	}
	r := dagcbor.Reader{Buf: t.out, Off: start, DataModel: true}
	_, err = r.CID()
	return err
}

func (t *transcoder) array(h lead, depth int) error {
	start := len(t.out)
	if !h.indefinite {
		t.out = dagcbor.AppendHead(t.out, h.major, h.arg)
		for ; h.arg > 0; h.arg-- {
			if err := t.item(depth + 1); err != nil {
				return err
			}
		}
		return nil
	}
	n := 0
	for ; !t.ended(); n++ {
		if err := t.item(depth + 1); err != nil {
			return err
		}
	}
	return t.insertHead(start, h.major, n)
}

func (t *transcoder) mapping(h lead, depth int) error {
	base := len(t.pairs)
	if !h.indefinite {
		t.out = dagcbor.AppendHead(t.out, h.major, h.arg)
	}
	start := len(t.out)
	for h.indefinite || h.arg > 0 {
		if h.indefinite && t.ended() {
			break
		}
		h.arg--
		if err := t.pair(depth + 1); err != nil {
			return err
		}
	}
	pairs := t.pairs[base:]
	if err := t.sort(start, pairs); err != nil {
		return err
	}
	t.pairs = t.pairs[:base]
	if !h.indefinite {
		return nil
	}
	return t.insertHead(start, h.major, len(pairs))
}

// pair moves one key and its value and notes where they went.
func (t *transcoder) pair(depth int) error {
	key := len(t.out)
	h, err := t.head()
	if err != nil {
		return err
	}
	if h.major != dagcbor.MajorText {
		return dagcbor.ErrKey
	}
	if err := t.str(h); err != nil {
		return err
	}
	value := len(t.out)
	if err := t.item(depth); err != nil {
		return err
	}
	t.pairs = append(t.pairs, pair{uint32(key), uint32(value), uint32(len(t.out))})
	return nil
}

// sort puts the pairs of one map, which fill out from start on, in order. Encoded
// keys compare like DAG-CBOR's order: the head carries the length and comes first.
func (t *transcoder) sort(start int, pairs []pair) error {
	byKey := func(a, b pair) int { return bytes.Compare(t.out[a.key:a.value], t.out[b.key:b.value]) }
	sorted := slices.IsSortedFunc(pairs, byKey)
	if !sorted {
		slices.SortFunc(pairs, byKey)
	}
	for i := 1; i < len(pairs); i++ {
		if byKey(pairs[i-1], pairs[i]) == 0 {
			return dagcbor.ErrDuplicateKey
		}
	}
	if sorted {
		return nil
	}
	end := len(t.out)
	if err := t.move(2 * (end - start)); err != nil {
		return err
	}
	for _, p := range pairs {
		t.out = append(t.out, t.out[p.key:p.end]...)
	}
	t.out = t.out[:start+copy(t.out[start:], t.out[end:])]
	return nil
}

// insertHead puts a head before what stands in out from start on.
func (t *transcoder) insertHead(start int, major byte, n int) error {
	if err := t.move(len(t.out) - start); err != nil {
		return err
	}
	var buf [9]byte
	t.out = slices.Insert(t.out, start, dagcbor.AppendHead(buf[:0], major, uint64(n))...)
	return nil
}

// move takes bytes from the budget.
func (t *transcoder) move(n int) error {
	if t.budget -= n; t.budget < 0 {
		return errTangled
	}
	return nil
}
