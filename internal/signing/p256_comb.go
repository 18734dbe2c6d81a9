package signing

import (
	"bytes"
	"math/big"
	"sync/atomic"

	"filippo.io/nistec"
)

// A comb (Lim and Lee, CRYPTO '94) reads a scalar as combTeeth rows of combSpacing
// bits. Column j picks the point Σ 2^(i·combSpacing)·Q over the rows i whose bit j is
// set; all 31 such sums of a key are kept. A multiplication is then 52 doublings and
// at most 52 additions, where one without a table needs 256 doublings. A sixth tooth
// would double the table for a tenth of the time.
const (
	combTeeth   = 5
	combSpacing = 52 // ceil(256 / combTeeth)
)

// combTable is what one P-256 key's signatures are checked with. But for recent it
// never changes. It has no pointers.
type combTable struct {
	recent atomic.Bool // for tableCache
	point  [uncompressedSize]byte
	sums   [1<<combTeeth - 1]nistec.P256Point // sums[m-1]: the rows that are set in m
}

// newCombTable makes the table of a point in its uncompressed form. It fails when the
// point is not on the curve.
func newCombTable(point *[uncompressedSize]byte) (*combTable, error) {
	row, err := nistec.NewP256Point().SetBytes(point[:])
	if err != nil {
		return nil, err
	}
	t := &combTable{point: *point}
	for i := range combTeeth {
		if i > 0 {
			for range combSpacing {
				row.Double(row)
			}
		}
		top := 1 << i
		t.sums[top-1].Set(row)
		for m := top + 1; m < 2*top; m++ {
			t.sums[m-1].Add(row, &t.sums[m-top-1])
		}
	}
	return t, nil
}

// multiply sets p to k·Q; k is big-endian.
//
// Relied on: nistec's Add is complete. The portable one is the complete formula of
// Renes, Costello and Batina (eprint 2015/1060, algorithm 4). The assembly's is not,
// and the wrapper around it (p256_asm.go) makes it so: it replaces the sum by a
// doubling when the points are equal, by the other operand when one is infinity, and
// of P and -P the formula itself makes Z = 0, which is infinity. Double takes infinity
// to infinity in both. So a column of zeros is just no addition, and nothing that the
// accumulator may become needs a case here.
func (t *combTable) multiply(p *nistec.P256Point, k *[32]byte) {
	p.Set(nistec.NewP256Point())
	for j := combSpacing - 1; j >= 0; j-- {
		p.Double(p)
		m := 0
		for i := range combTeeth {
			// The last row is 48 bits long.
			if n := i*combSpacing + j; n < 256 {
				m |= int(k[31-n/8]>>(n%8)&1) << i
			}
		}
		if m != 0 {
			p.Add(p, &t.sums[m-1])
		}
	}
}

// verify checks a signature that passed checkForm (SEC 1, version 2.0, section 4.1.4).
// Its time depends on its input, all of which is public.
func (t *combTable) verify(digest, sig []byte) bool {
	u1, u2 := scalars(digest, sig)
	var r, q nistec.P256Point
	if _, err := r.ScalarBaseMult(u1[:]); err != nil {
		return false // only for a length other than 32
	}
	t.multiply(&q, &u2)
	x, err := r.Add(&r, &q).BytesX()
	if err != nil {
		return false // infinity
	}
	return congruent(x, sig[:32])
}

var bigOrderP256 = new(big.Int).SetBytes(orderP256[:])

// scalars returns digest/s and r/s modulo n. checkForm saw that 0 < s < n, and n is
// prime, so the inverse exists. A digest may be n or more, like any 32 bytes.
func scalars(digest, sig []byte) (u1, u2 [32]byte) {
	var w, u big.Int
	w.ModInverse(w.SetBytes(sig[32:]), bigOrderP256)
	u.SetBytes(digest)
	u.Mod(u.Mul(&u, &w), bigOrderP256).FillBytes(u1[:])
	u.SetBytes(sig[:32])
	u.Mod(u.Mul(&u, &w), bigOrderP256).FillBytes(u2[:])
	return u1, u2
}

// congruent says whether x mod n is r, for r < n. The field's prime is above n and
// below 2n, so a coordinate is r or r + n.
func congruent(x, r []byte) bool {
	if bytes.Compare(x, orderP256[:]) < 0 {
		return bytes.Equal(x, r)
	}
	// One x in 2¹²⁸ or so: nobody meets it who did not look for it.
	over := new(big.Int).SetBytes(x)
	return over.Sub(over, bigOrderP256).Cmp(new(big.Int).SetBytes(r)) == 0
}
