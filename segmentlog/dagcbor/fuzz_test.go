package dagcbor_test

import (
	"bytes"
	"math/big"
	"testing"

	"github.com/fxamacker/cbor/v2"

	"github.com/cistern-archive/cistern/segmentlog/dagcbor"
)

var decoder, encoder = func() (cbor.DecMode, cbor.EncMode) {
	dec, err := cbor.DecOptions{
		DupMapKey: cbor.DupMapKeyEnforcedAPF, IndefLength: cbor.IndefLengthForbidden,
		MaxNestedLevels: 200, MaxArrayElements: 1 << 30, MaxMapPairs: 1 << 30,
	}.DecMode()
	if err != nil {
		panic(err)
	}
	enc, err := cbor.EncOptions{Sort: cbor.SortLengthFirst, BigIntConvert: cbor.BigIntConvertShortest}.EncMode()
	if err != nil {
		panic(err)
	}
	return dec, enc
}()

// ours says whether a decoded value holds only what DAG-CBOR has, no deeper than
// MaxDepth.
func ours(v any, depth int) bool {
	if depth > dagcbor.MaxDepth {
		return false
	}
	switch v := v.(type) {
	case nil, bool, uint64, int64, string, []byte:
		return true
	case big.Int:
		return v.Sign() < 0 && new(big.Int).Not(&v).IsUint64() // a negative integer below the int64s
	case []any:
		for _, e := range v {
			if !ours(e, depth+1) {
				return false
			}
		}
		return true
	case map[any]any:
		for k, e := range v {
			if _, ok := k.(string); !ok || !ours(e, depth+1) {
				return false
			}
		}
		return true
	case cbor.Tag:
		b, ok := v.Content.([]byte)
		return v.Number == 42 && ok && len(b) >= 2 && b[0] == 0
	}
	return false
}

// FuzzValidAgreesWithAnotherDecoder compares with decoding and encoding again: what
// is canonical DAG-CBOR comes back as it was.
func FuzzValidAgreesWithAnotherDecoder(f *testing.F) {
	for _, b := range [][]byte{
		{0}, {0x20}, {24, 24}, {0x82, 0xf4, 0xf6}, {0xa2, 0x61, 'b', 1, 0x62, 'a', 'a', 2}, {0xa2, 0x61, 'b', 1, 0x61, 'a', 2},
		{0xa2, 0x61, 'a', 1, 0x61, 'a', 2}, {0x62, 0xc3, 0xa9}, {0x61, 0xff}, {0xf9, 0, 0}, {0xf7}, {0xc2, 0x41, 1}, {0x9f, 0xff},
		{0x3b, 255, 255, 255, 255, 255, 255, 255, 255}, {0x78, 1, 'a'}, {0, 0}, dagcbor.AppendCID(nil, cid()),
	} {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var v any
		want := decoder.Unmarshal(b, &v) == nil && ours(v, 0)
		if want {
			again, err := encoder.Marshal(v)
			want = err == nil && bytes.Equal(again, b)
		}
		if err := dagcbor.Valid(b); (err == nil) != want {
			t.Fatalf("valid: %v, the other way round: %v\n%x\n%#v", err, want, b, v)
		}
	})
}
