package segmentlog

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sort"

	"github.com/cistern-archive/cistern/segmentlog/dagcbor"
)

// Bounds of a segment; readers check them before they allocate.
const (
	// MaxBlock is the largest block, decoded, in bytes.
	MaxBlock = 8 << 20
	// maxBlockWire bounds an encoded block: what cannot be compressed grows a little.
	maxBlockWire = MaxBlock + 64<<10
	// maxFooter bounds a footer, in bytes.
	maxFooter = 32 << 20
	// maxCounted bounds the collections that a footer counts by name.
	maxCounted = 4096
)

// The keys of the footer's map (docs/format/segment.md). They are part of the
// format: new ones may be added, none changes its meaning.
const (
	keyVersion = iota
	keyStream
	keyEpoch
	keyGeneration
	keyFirstSeq
	keyLastSeq
	keyFirstWitnessed
	keyLastWitnessed
	keyCount
	keyFirstLeaf
	keyFrontier
	keyLeaves
	keyRoot
	keyHeader
	keyBlocks
	keyKinds
	keyCollections
	footerKeys
)

// Span is a zstd frame of the file.
type Span struct {
	Offset int64
	Wire   int64 // encoded length, bytes
	Raw    int64 // decoded length, bytes
	SHA256 [HashSize]byte
}

// Block is one zstd frame of records, and what is in it.
type Block struct {
	Span
	Count          uint64
	FirstSeq       uint64
	LastSeq        uint64
	FirstWitnessed int64
	LastWitnessed  int64
}

// Footer says what is in a segment and proves it.
type Footer struct {
	Stream         string
	Name           SegmentName
	FirstWitnessed int64 // Unix µs
	LastWitnessed  int64
	Count          uint64

	FirstLeaf uint64
	Frontier  [][]byte // compact range of the leaves [0, FirstLeaf)
	Leaves    [][]byte // compact range of this segment's own leaves
	Root      []byte   // of the tree of size FirstLeaf+Count

	Header      Span
	Blocks      []Block
	Kinds       map[string]uint64 // events by the header's t
	Collections map[string]uint64 // ops by collection; "" counts those beyond 4,096 names
}

// tally adds what a block counted. The same blocks give the same counts, whatever
// the order of a map: names beyond maxCounted are those that sort last in the
// block that crosses it.
func (f *Footer) tally(kinds, collections map[string]uint64) {
	for k, n := range kinds {
		f.Kinds[k] += n
	}
	for _, k := range slices.Sorted(maps.Keys(collections)) {
		n := collections[k]
		if _, known := f.Collections[k]; !known && len(f.Collections) >= maxCounted {
			k = ""
		}
		f.Collections[k] += n
	}
}

func (f *Footer) append(dst []byte) []byte {
	start := len(dst)
	dst = dagcbor.AppendHead(dst, dagcbor.MajorMap, footerKeys)
	num := func(key, v uint64) {
		dst = dagcbor.AppendUint(dagcbor.AppendUint(dst, key), v)
	}
	num(keyVersion, headerVersion)
	dst = dagcbor.AppendText(dagcbor.AppendUint(dst, keyStream), f.Stream)
	num(keyEpoch, f.Name.Epoch)
	num(keyGeneration, f.Name.Generation)
	num(keyFirstSeq, f.Name.FirstSeq)
	num(keyLastSeq, f.Name.LastSeq)
	num(keyFirstWitnessed, uint64(f.FirstWitnessed))
	num(keyLastWitnessed, uint64(f.LastWitnessed))
	num(keyCount, f.Count)
	num(keyFirstLeaf, f.FirstLeaf)
	dst = appendHashes(dagcbor.AppendUint(dst, keyFrontier), f.Frontier)
	dst = appendHashes(dagcbor.AppendUint(dst, keyLeaves), f.Leaves)
	dst = dagcbor.AppendBytes(dagcbor.AppendUint(dst, keyRoot), f.Root)
	dst = dagcbor.AppendHead(dagcbor.AppendUint(dst, keyHeader), dagcbor.MajorArray, 4)
	dst = f.Header.append(dst)
	dst = dagcbor.AppendHead(dagcbor.AppendUint(dst, keyBlocks), dagcbor.MajorArray, uint64(len(f.Blocks)))
	for i := range f.Blocks {
		dst = f.Blocks[i].append(dst)
	}
	dst = appendCounts(dagcbor.AppendUint(dst, keyKinds), f.Kinds)
	dst = appendCounts(dagcbor.AppendUint(dst, keyCollections), f.Collections)
	sum := sha256.Sum256(dst[start:])
	return dagcbor.AppendBytes(dst, sum[:])
}

func (s *Span) append(dst []byte) []byte {
	for _, v := range []int64{s.Offset, s.Wire, s.Raw} {
		dst = dagcbor.AppendUint(dst, uint64(v))
	}
	return dagcbor.AppendBytes(dst, s.SHA256[:])
}

func (b *Block) append(dst []byte) []byte {
	dst = b.Span.append(dagcbor.AppendHead(dst, dagcbor.MajorArray, 9))
	for _, v := range []uint64{b.Count, b.FirstSeq, b.LastSeq, uint64(b.FirstWitnessed), uint64(b.LastWitnessed)} {
		dst = dagcbor.AppendUint(dst, v)
	}
	return dst
}

func appendHashes(dst []byte, hashes [][]byte) []byte {
	dst = dagcbor.AppendHead(dst, dagcbor.MajorArray, uint64(len(hashes)))
	for _, h := range hashes {
		dst = dagcbor.AppendBytes(dst, h)
	}
	return dst
}

// appendCounts writes a map in the order of deterministic CBOR.
func appendCounts(dst []byte, m map[string]uint64) []byte {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Slice(keys, func(i, j int) bool { return dagcbor.CompareKeys([]byte(keys[i]), []byte(keys[j])) < 0 })
	dst = dagcbor.AppendHead(dst, dagcbor.MajorMap, uint64(len(keys)))
	for _, k := range keys {
		dst = dagcbor.AppendUint(dagcbor.AppendText(dst, k), m[k])
	}
	return dst
}

// errFooter wraps whatever is wrong with a footer.
var errFooter = errors.New("footer")

// decodeFooter reads the payload of the footer frame: the map and its SHA-256.
func decodeFooter(b []byte) (*Footer, error) {
	d := footerDecoder{r: dagcbor.Reader{Buf: b}}
	f, err := d.decode()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errFooter, err)
	}
	end := d.r.Off
	sum, err := d.r.Bytes()
	if err != nil || d.r.Rest() != 0 {
		return nil, fmt.Errorf("%w: no checksum at its end", errFooter)
	}
	if got := sha256.Sum256(b[:end]); string(got[:]) != string(sum) {
		return nil, fmt.Errorf("%w does not match its SHA-256", errFooter)
	}
	if err := f.check(); err != nil {
		return nil, err
	}
	return f, nil
}
