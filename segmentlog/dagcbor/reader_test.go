package dagcbor_test

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"github.com/cistern-archive/cistern/segmentlog/dagcbor"
)

func cid() []byte { return append([]byte{1, 0x71, 0x12, 32}, make([]byte, 32)...) }

func TestCanonicalItemsAreValid(t *testing.T) {
	for name, b := range map[string][]byte{
		"0": {0}, "23": {23}, "24": {24, 24}, "256": {25, 1, 0}, "65536": {26, 0, 1, 0, 0}, "2^32": {27, 0, 0, 0, 1, 0, 0, 0, 0},
		"2^64-1": {27, 255, 255, 255, 255, 255, 255, 255, 255}, "-1": {0x20}, "-2^64": {0x3b, 255, 255, 255, 255, 255, 255, 255, 255},
		"no bytes": {0x40}, "no text": {0x60}, "text": {0x62, 0xc3, 0xa9}, "no list": {0x80}, "no map": {0xa0},
		"list": {0x82, 0xf4, 0xf6}, "map": {0xa2, 0x61, 'b', 1, 0x62, 'a', 'a', 2}, "true": {0xf5},
		"link":     dagcbor.AppendCID(nil, cid()),
		"odd link": dagcbor.AppendCID(nil, []byte{1}),
		"deepest":  append(bytes.Repeat([]byte{0x81}, dagcbor.MaxDepth), 0x80),
	} {
		if err := dagcbor.Valid(b); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestEveryDefectHasItsError(t *testing.T) {
	for name, c := range map[string]struct {
		b    []byte
		want error
	}{
		"empty":                   {nil, dagcbor.ErrTruncated},
		"half a head":             {[]byte{0x19, 1}, dagcbor.ErrTruncated},
		"half a text":             {[]byte{0x63, 'a'}, dagcbor.ErrTruncated},
		"list of too many":        {[]byte{0x9a, 255, 255, 255, 255}, dagcbor.ErrTruncated},
		"map of too many":         {[]byte{0xa2, 0x60, 0}, dagcbor.ErrTruncated},
		"23 in two bytes":         {[]byte{24, 23}, dagcbor.ErrNotCanonical},
		"255 in three":            {[]byte{25, 0, 255}, dagcbor.ErrNotCanonical},
		"65535 in five":           {[]byte{26, 0, 0, 255, 255}, dagcbor.ErrNotCanonical},
		"2^32-1 in nine":          {[]byte{27, 0, 0, 0, 0, 255, 255, 255, 255}, dagcbor.ErrNotCanonical},
		"long text head":          {[]byte{0x78, 1, 'a'}, dagcbor.ErrNotCanonical},
		"open list":               {[]byte{0x9f, 0xff}, dagcbor.ErrNotCanonical},
		"open text":               {[]byte{0x7f, 0xff}, dagcbor.ErrNotCanonical},
		"keys not sorted":         {[]byte{0xa2, 0x61, 'b', 0, 0x61, 'a', 0}, dagcbor.ErrNotCanonical},
		"longer key first":        {[]byte{0xa2, 0x62, 'a', 'a', 0, 0x61, 'b', 0}, dagcbor.ErrNotCanonical},
		"same key twice":          {[]byte{0xa2, 0x61, 'a', 0, 0x61, 'a', 0}, dagcbor.ErrDuplicateKey},
		"number as a key":         {[]byte{0xa1, 0, 0}, dagcbor.ErrKey},
		"float16":                 {[]byte{0xf9, 0, 0}, dagcbor.ErrFloat},
		"float32":                 {[]byte{0xfa, 0, 0, 0, 0}, dagcbor.ErrFloat},
		"float64":                 {[]byte{0xfb, 0, 0, 0, 0, 0, 0, 0, 0}, dagcbor.ErrFloat},
		"tag 1":                   {[]byte{0xc1, 0}, dagcbor.ErrTag},
		"tag 42 over a number":    {[]byte{0xd8, 42, 0}, dagcbor.ErrTag},
		"tag 42 over no bytes":    {[]byte{0xd8, 42, 0x40}, dagcbor.ErrTag},
		"tag 42 without the zero": {[]byte{0xd8, 42, 0x42, 1, 1}, dagcbor.ErrTag},
		"undefined":               {[]byte{0xf7}, dagcbor.ErrSimple},
		"simple 0":                {[]byte{0xe0}, dagcbor.ErrSimple},
		"simple 32":               {[]byte{0xf8, 32}, dagcbor.ErrSimple},
		"break":                   {[]byte{0xff}, dagcbor.ErrMalformed},
		"reserved":                {[]byte{0x1d}, dagcbor.ErrMalformed},
		"open number":             {[]byte{0x1f}, dagcbor.ErrMalformed},
		"open tag":                {[]byte{0xdf}, dagcbor.ErrMalformed},
		"short bad text":          {[]byte{0x61, 0xff}, dagcbor.ErrUTF8},
		"long bad text":           {append([]byte{0x78, 30}, bytes.Repeat([]byte{0x80}, 30)...), dagcbor.ErrUTF8},
		"surrogate":               {[]byte{0x63, 0xed, 0xa0, 0x80}, dagcbor.ErrUTF8},
		"too deep":                {append(bytes.Repeat([]byte{0x81}, dagcbor.MaxDepth+1), 0x80), dagcbor.ErrDepth},
		"two items":               {[]byte{0, 0}, dagcbor.ErrTrailing},
	} {
		if err := dagcbor.Valid(c.b); !errors.Is(err, c.want) {
			t.Errorf("%s: want %v, got %v", name, c.want, err)
		}
	}
}

func TestTheDataModelAsksForMore(t *testing.T) {
	raw := cid()
	raw[1] = 0x55
	for name, c := range map[string]struct {
		b    []byte
		want error
	}{
		"dag-cbor":   {dagcbor.AppendCID(nil, cid()), nil},
		"raw":        {dagcbor.AppendCID(nil, raw), nil},
		"short":      {dagcbor.AppendCID(nil, cid()[:35]), dagcbor.ErrCID},
		"long":       {dagcbor.AppendCID(nil, append(cid(), 0)), dagcbor.ErrCID},
		"dag-pb":     {dagcbor.AppendCID(nil, slices.Concat([]byte{1, 0x70}, cid()[2:])), dagcbor.ErrCID},
		"version 0":  {dagcbor.AppendCID(nil, cid()[2:]), dagcbor.ErrCID},
		"sha2-512":   {dagcbor.AppendCID(nil, slices.Concat([]byte{1, 0x71, 0x13}, cid()[3:])), dagcbor.ErrCID},
		"2^53-1":     {dagcbor.AppendUint(nil, dagcbor.MaxInteger), nil},
		"2^53":       {dagcbor.AppendUint(nil, dagcbor.MaxInteger+1), dagcbor.ErrInteger},
		"-(2^53-1)":  {dagcbor.AppendHead(nil, dagcbor.MajorNint, dagcbor.MaxInteger-1), nil},
		"-2^53":      {dagcbor.AppendHead(nil, dagcbor.MajorNint, dagcbor.MaxInteger), dagcbor.ErrInteger},
		"in a list":  {append([]byte{0x81}, dagcbor.AppendUint(nil, 1<<60)...), dagcbor.ErrInteger},
		"true, null": {[]byte{0x82, 0xf5, 0xf6}, nil},
	} {
		r := dagcbor.Reader{Buf: c.b, DataModel: true}
		if err := r.Skip(); !errors.Is(err, c.want) {
			t.Errorf("%s: want %v, got %v", name, c.want, err)
		}
		if err := dagcbor.Valid(c.b); err != nil {
			t.Errorf("%s: plain DAG-CBOR, but: %v", name, err)
		}
	}
}

func TestAValueOfAnotherTypeIsLeftInPlace(t *testing.T) {
	for name, read := range map[string]func(r *dagcbor.Reader) error{
		"uint":  func(r *dagcbor.Reader) error { _, err := r.Uint(); return err },
		"int":   func(r *dagcbor.Reader) error { _, err := r.Int(); return err },
		"text":  func(r *dagcbor.Reader) error { _, err := r.Text(); return err },
		"bytes": func(r *dagcbor.Reader) error { _, err := r.Bytes(); return err },
		"array": func(r *dagcbor.Reader) error { _, err := r.Array(); return err },
		"map":   func(r *dagcbor.Reader) error { _, err := r.Map(); return err },
		"cid":   func(r *dagcbor.Reader) error { _, err := r.CID(); return err },
	} {
		r := dagcbor.Reader{Buf: []byte{0xf5}}
		if err := read(&r); !errors.Is(err, dagcbor.ErrType) || r.Off != 0 {
			t.Errorf("%s of a bool: %v, offset %d", name, err, r.Off)
		}
		if b, err := r.Bool(); !b || err != nil {
			t.Errorf("%s: the bool is gone: %v", name, err)
		}
	}
	r := dagcbor.Reader{Buf: []byte{0x0a}}
	if _, err := r.Bool(); !errors.Is(err, dagcbor.ErrType) || r.Null() {
		t.Errorf("10 as a bool: %v", err)
	}
	r = dagcbor.Reader{Buf: []byte{0x3b, 255, 255, 255, 255, 255, 255, 255, 255}}
	if _, err := r.Int(); !errors.Is(err, dagcbor.ErrType) {
		t.Errorf("-2^64 as an int64: %v", err)
	}
}

func TestReadingBeyondTheEndIsTruncated(t *testing.T) {
	r := dagcbor.Reader{Buf: []byte{0x61}, Off: 7}
	if _, err := r.Text(); !errors.Is(err, dagcbor.ErrTruncated) {
		t.Errorf("text: %v", err)
	}
	if _, _, err := r.Head(); !errors.Is(err, dagcbor.ErrTruncated) {
		t.Errorf("head: %v", err)
	}
	if _, err := r.Bool(); !errors.Is(err, dagcbor.ErrTruncated) {
		t.Errorf("bool: %v", err)
	}
	if r.Null() {
		t.Error("a null beyond the end")
	}
}

func TestWhatIsHandedOutHasNoRoomToGrow(t *testing.T) {
	buf := dagcbor.AppendBytes(dagcbor.AppendBytes(nil, []byte("short")), bytes.Repeat([]byte("l"), 30))
	buf = append(buf, 0, 0)
	before := bytes.Clone(buf)
	r := dagcbor.Reader{Buf: buf}
	for range 2 {
		b, err := r.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		if _ = append(b, 0xff); !bytes.Equal(buf, before) {
			t.Fatalf("appending to %q wrote into the buffer", b)
		}
	}
}

func TestNestingIsCountedFromOutside(t *testing.T) {
	b := bytes.Repeat([]byte{0x81}, 10)
	b = append(b, 0)
	r := dagcbor.Reader{Buf: b}
	if err := r.SkipAt(dagcbor.MaxDepth - 10); err != nil {
		t.Error(err)
	}
	r.Off = 0
	if err := r.SkipAt(dagcbor.MaxDepth - 9); !errors.Is(err, dagcbor.ErrDepth) {
		t.Errorf("one level more: %v", err)
	}
}

func TestAppendedItemsReadBack(t *testing.T) {
	for _, n := range []uint64{0, 23, 24, 255, 256, 65535, 65536, 1<<32 - 1, 1 << 32, 1<<64 - 1} {
		b := dagcbor.AppendUint(nil, n)
		r := dagcbor.Reader{Buf: b}
		if got, err := r.Uint(); got != n || err != nil || r.Rest() != 0 || dagcbor.HeadLen(n) != len(b) {
			t.Errorf("%d: got %d, %v; %d bytes, HeadLen %d", n, got, err, len(b), dagcbor.HeadLen(n))
		}
	}
	b := dagcbor.AppendText(nil, "é")
	b = dagcbor.AppendBytes(b, []byte{1, 2})
	b = dagcbor.AppendCID(b, cid())
	b = dagcbor.AppendNull(dagcbor.AppendBool(dagcbor.AppendBool(b, true), false))
	r := dagcbor.Reader{Buf: b, DataModel: true}
	text, e1 := r.Text()
	bin, e2 := r.Bytes()
	link, e3 := r.CID()
	yes, e4 := r.Bool()
	no, e5 := r.Bool()
	if err := errors.Join(e1, e2, e3, e4, e5); err != nil {
		t.Fatal(err)
	}
	if string(text) != "é" || !bytes.Equal(bin, []byte{1, 2}) || !bytes.Equal(link, cid()) || !yes || no || !r.Null() || r.Rest() != 0 {
		t.Errorf("read back %q %x %x %v %v, %d bytes left", text, bin, link, yes, no, r.Rest())
	}
}
