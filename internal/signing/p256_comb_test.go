package signing

import (
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/binary"
	"math/big"
	"math/rand/v2"
	"testing"

	"filippo.io/nistec"
)

// bytes32 is a number as the curve's libraries take it.
func bytes32(n *big.Int) (b [32]byte) { n.FillBytes(b[:]); return b }

// mod is n brought into 0…order-1.
func mod(n *big.Int) *big.Int { return n.Mod(n, bigOrderP256) }

func inverse(n *big.Int) *big.Int { return new(big.Int).ModInverse(n, bigOrderP256) }

// times is k·G, in uncompressed form.
func times(t testing.TB, k *big.Int) (point [uncompressedSize]byte) {
	t.Helper()
	b := bytes32(k)
	p, err := nistec.NewP256Point().ScalarBaseMult(b[:])
	if err != nil {
		t.Fatal(err)
	}
	if copy(point[:], p.Bytes()) != uncompressedSize {
		t.Fatal("infinity is no key")
	}
	return point
}

// both checks a signature by crypto/ecdsa and by the key's table, and fails when they differ.
func both(t testing.TB, point *[uncompressedSize]byte, digest, sig []byte) bool {
	t.Helper()
	table, err := newCombTable(point)
	if err != nil {
		t.Fatal(err)
	}
	ours, theirs := table.verify(digest, sig), verifyECDSA(point[:], digest, sig)
	if ours != theirs {
		t.Errorf("key %x\ndigest %x\nsignature %x: table %v, crypto/ecdsa %v", *point, digest, sig, ours, theirs)
	}
	return ours
}

// seeded returns a source of numbers and prints its seed.
func seeded(t testing.TB) *rand.Rand {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// scalar is a number in 1…n-1.
func scalar(rng *rand.Rand) *big.Int {
	var b [32]byte
	for i := 0; i < 32; i += 8 {
		binary.BigEndian.PutUint64(b[i:], rng.Uint64())
	}
	k := mod(new(big.Int).SetBytes(b[:]))
	return k.Add(k, big.NewInt(1)).Mod(k, bigOrderP256)
}

// sign signs a digest with d and the nonce k, low-S. Any 32 bytes are a digest.
func sign(t testing.TB, d, k *big.Int, digest []byte) []byte {
	t.Helper()
	nonce := times(t, k)
	r := mod(new(big.Int).SetBytes(nonce[1:33]))
	s := new(big.Int).Mul(r, d)
	s.Add(s, new(big.Int).SetBytes(digest))
	return compact(r, mod(s.Mul(s, inverse(k))))
}

// compact is the 64-byte form with the lower of s and n-s. Both are of the same
// signature: R becomes -R, which has the same x.
func compact(r, s *big.Int) []byte {
	if s.Cmp(new(big.Int).SetBytes(halfP256[:])) > 0 {
		s = new(big.Int).Sub(bigOrderP256, s)
	}
	rb, sb := bytes32(r), bytes32(s)
	return append(rb[:], sb[:]...)
}

func TestATableDecidesAsTheStandardLibrary(t *testing.T) {
	rng := seeded(t)
	for range 200 {
		d := scalar(rng)
		point, other := times(t, d), times(t, scalar(rng))
		digest := bytes32(scalar(rng))
		sig := sign(t, d, scalar(rng), digest[:])
		if err := checkForm(P256, sig); err != nil {
			t.Fatal(err)
		}
		if !both(t, &point, digest[:], sig) {
			t.Error("a good signature does not verify")
		}
		if both(t, &other, digest[:], sig) {
			t.Error("verifies with another key")
		}
		bit := rng.IntN(256)
		for _, part := range [][]byte{sig[:32], sig[32:], digest[:]} {
			part[bit/8] ^= 1 << (bit % 8)
			if checkForm(P256, sig) == nil && both(t, &point, digest[:], sig) {
				t.Error("verifies with a bit flipped")
			}
			part[bit/8] ^= 1 << (bit % 8)
		}
	}
}

// Every product is compared with the library's own, for scalars whose columns are
// empty, full, or of one row.
func TestTheCombMultipliesAsTheLibrary(t *testing.T) {
	rng := seeded(t)
	point := times(t, scalar(rng))
	table, err := newCombTable(&point)
	if err != nil {
		t.Fatal(err)
	}
	q, err := nistec.NewP256Point().SetBytes(point[:])
	if err != nil {
		t.Fatal(err)
	}
	ks := []*big.Int{new(big.Int), big.NewInt(1), big.NewInt(2), big.NewInt(3)}
	for i := range 256 {
		bit := new(big.Int).Lsh(big.NewInt(1), uint(i))
		ks = append(ks, bit, new(big.Int).Sub(bit, big.NewInt(1)))
	}
	for i := range int64(4) {
		ks = append(ks, new(big.Int).Sub(bigOrderP256, big.NewInt(i)), scalar(rng))
	}
	for _, k := range ks {
		b := bytes32(k)
		var ours nistec.P256Point
		table.multiply(&ours, &b)
		theirs, err := nistec.NewP256Point().ScalarMult(q, b[:])
		if err != nil {
			t.Fatal(err)
		}
		if ours.Equal(theirs) != 1 {
			t.Errorf("%x: another product", b)
		}
	}
}

// A signature is chosen so that u1·G and u2·Q are what the case wants: with Q = d·G,
// u2 = r/s and u1 = digest/s, any u1, u2 and r follow from s = r/u2.
func TestExceptionalSumsDecideAsTheStandardLibrary(t *testing.T) {
	rng := seeded(t)
	for range 50 {
		d, u1 := scalar(rng), scalar(rng)
		point := times(t, d)
		overD := func(n *big.Int) *big.Int { return mod(new(big.Int).Mul(n, inverse(d))) }
		for _, c := range []struct {
			name   string
			u1, u2 *big.Int
		}{
			{"u2·Q = u1·G, a doubling", u1, overD(u1)},
			{"u2·Q = -u1·G, infinity", u1, overD(new(big.Int).Neg(u1))},
			{"u1 = 0", new(big.Int), scalar(rng)},
			{"u1 = 1", big.NewInt(1), scalar(rng)},
			{"u2 = 1, all columns but one empty", u1, big.NewInt(1)},
			{"u2 = n-1", u1, new(big.Int).Sub(bigOrderP256, big.NewInt(1))},
			{"u2·Q = G", u1, overD(big.NewInt(1))},
		} {
			sum := new(big.Int).Mul(c.u2, d)
			mod(sum.Add(sum, c.u1))
			infinity := sum.Sign() == 0
			r := scalar(rng) // at infinity no r fits, so any will do
			if !infinity {
				nonce := times(t, sum)
				r = mod(new(big.Int).SetBytes(nonce[1:33]))
			}
			s := mod(new(big.Int).Mul(r, inverse(c.u2)))
			if sig := compact(r, s); new(big.Int).SetBytes(sig[32:]).Cmp(s) != 0 {
				s.Sub(bigOrderP256, s) // then both factors are negated, and so is the sum
				c.u1 = mod(new(big.Int).Neg(c.u1))
			}
			digest := bytes32(mod(new(big.Int).Mul(c.u1, s)))
			sig := compact(r, s)
			gotU1, _ := scalars(digest[:], sig)
			if gotU1 != bytes32(c.u1) {
				t.Fatalf("%s: the case was not reached", c.name)
			}
			if got := both(t, &point, digest[:], sig); got == infinity {
				t.Errorf("%s: %v", c.name, got)
			}
		}
	}
}

// A digest is a number of 256 bits and may be 0, n or above it.
func TestDigestsAtTheEdgesVerify(t *testing.T) {
	rng := seeded(t)
	d := scalar(rng)
	point := times(t, d)
	order := new(big.Int).Set(bigOrderP256)
	ones := new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 256), big.NewInt(1))
	for _, z := range []*big.Int{new(big.Int), big.NewInt(1), new(big.Int).Sub(order, big.NewInt(1)), order,
		new(big.Int).Add(order, big.NewInt(1)), ones} {
		digest := bytes32(z)
		sig := sign(t, d, scalar(rng), digest[:])
		if !both(t, &point, digest[:], sig) {
			t.Errorf("digest %x: a good signature does not verify", digest)
		}
		same := bytes32(mod(new(big.Int).Add(z, big.NewInt(1))))
		if both(t, &point, same[:], sig) {
			t.Errorf("digest %x: the next one verifies too", digest)
		}
	}
}

// No one meets an R whose x is n or more (one in 2¹²⁸ points), but one is easily
// chosen: a small r for which r + n is an x of the curve. Any s and digest then have
// the key Q = (s·R - digest·G)/r.
func TestAnXAboveTheOrderWraps(t *testing.T) {
	rng := seeded(t)
	prime := elliptic.P256().Params().P
	found := 0
	for r := int64(1); found < 20; r++ {
		x := new(big.Int).Add(bigOrderP256, big.NewInt(r))
		if x.Cmp(prime) >= 0 {
			t.Fatal("no x left")
		}
		xb := bytes32(x)
		nonce, err := nistec.NewP256Point().SetBytes(append([]byte{2}, xb[:]...))
		if err != nil {
			continue // not on the curve
		}
		found++
		sig := compact(big.NewInt(r), scalar(rng))
		z := scalar(rng)
		digest, minus := bytes32(z), bytes32(new(big.Int).Sub(bigOrderP256, z))
		overR := bytes32(inverse(big.NewInt(r)))
		sR, err := nistec.NewP256Point().ScalarMult(nonce, sig[32:])
		if err != nil {
			t.Fatal(err)
		}
		zG, err := nistec.NewP256Point().ScalarBaseMult(minus[:])
		if err != nil {
			t.Fatal(err)
		}
		q, err := nistec.NewP256Point().ScalarMult(sR.Add(sR, zG), overR[:])
		if err != nil {
			t.Fatal(err)
		}
		point := [uncompressedSize]byte(q.Bytes())
		if !both(t, &point, digest[:], sig) {
			t.Errorf("r = %d: x = r + n does not verify", r)
		}
		other := compact(big.NewInt(r+1), new(big.Int).SetBytes(sig[32:]))
		if both(t, &point, digest[:], other) {
			t.Errorf("r = %d: r + 1 verifies too", r)
		}
	}
}

func TestCongruentAtTheEdges(t *testing.T) {
	at := func(base *big.Int, n int64) []byte { b := bytes32(new(big.Int).Add(base, big.NewInt(n))); return b[:] }
	nought, order, prime := new(big.Int), bigOrderP256, elliptic.P256().Params().P
	top := new(big.Int).Sub(prime, order) // r + n is a coordinate below it
	for _, c := range []struct {
		x, r []byte
		want bool
	}{
		{at(nought, 1), at(nought, 1), true},
		{at(nought, 1), at(nought, 2), false},
		{at(order, -1), at(order, -1), true},
		{at(order, 0), at(nought, 1), false},
		{at(order, 1), at(nought, 1), true},
		{at(order, 2), at(nought, 1), false},
		{at(prime, -1), at(top, -1), true},
		{at(prime, -1), at(top, -2), false},
	} {
		if got := congruent(c.x, c.r); got != c.want {
			t.Errorf("x %x, r %x: %v", c.x, c.r, got)
		}
	}
}

func TestAPointOffTheCurveHasNoTable(t *testing.T) {
	point := times(t, big.NewInt(7))
	point[64] ^= 1
	if _, err := newCombTable(&point); err == nil {
		t.Error("made a table")
	}
}

// FuzzTable compares both ways on any digest and signature, with a key that has a
// good signature near them.
func FuzzTable(f *testing.F) {
	digest := sha256.Sum256([]byte("message"))
	f.Add(uint64(9), digest[:], sign(f, big.NewInt(9), big.NewInt(5), digest[:]))
	f.Add(uint64(1), make([]byte, 32), sign(f, big.NewInt(1), big.NewInt(1), make([]byte, 32)))
	f.Add(uint64(0), orderP256[:], make([]byte, 64))
	f.Fuzz(func(t *testing.T, key uint64, digest, sig []byte) {
		if len(digest) != sha256.Size {
			return
		}
		d := new(big.Int).Add(new(big.Int).SetUint64(key), big.NewInt(1))
		point := times(t, d)
		if checkForm(P256, sig) == nil {
			both(t, &point, digest, sig)
		}
		if !both(t, &point, digest, sign(t, d, big.NewInt(5), digest)) {
			t.Error("a good signature does not verify")
		}
	})
}

func BenchmarkP256(b *testing.B) {
	d := big.NewInt(1 << 40)
	point, digest := times(b, d), sha256.Sum256([]byte("message"))
	sig := sign(b, d, scalar(rand.New(rand.NewPCG(1, 2))), digest[:])
	b.Run("without", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if !verifyECDSA(point[:], digest[:], sig) {
				b.Fatal("does not verify")
			}
		}
	})
	b.Run("with", func(b *testing.B) {
		c := newTableCache()
		c.table(&point)
		c.table(&point)
		b.ReportAllocs()
		for b.Loop() {
			if !verifyP256(c, &point, digest[:], sig) {
				b.Fatal("does not verify")
			}
		}
	})
	b.Run("build", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := newCombTable(&point); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("lookup", func(b *testing.B) {
		c := newTableCache()
		c.table(&point)
		c.table(&point)
		b.ReportAllocs()
		for b.Loop() {
			if c.table(&point) == nil {
				b.Fatal("no table")
			}
		}
	})
}
