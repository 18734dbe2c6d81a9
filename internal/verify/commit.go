package verify

import (
	"errors"
	"fmt"

	"github.com/cistern-archive/cistern/segmentlog/dagcbor"
)

// repoVersion is the only version of the repository format (the repository page,
// "Commit objects").
const repoVersion = 3

// commit is a decoded commit object; its slices alias the frame.
type commit struct {
	cid  []byte
	did  []byte
	rev  []byte
	data []byte // root of the MST
	sig  []byte

	raw              []byte // the block
	body             int    // offset behind the map's head
	pairs            int
	sigFrom, sigUpto int // the pair of `sig`: key and value
}

// Bits of the fields that a commit must have, `prev` included.
const (
	hasDID = 1 << iota
	hasRev
	hasSig
	hasData
	hasPrev
	hasVersion
	hasAll = 1<<iota - 1
)

// decodeCommit reads a commit object.
//
// T24, repository page: strict DAG-CBOR, version 3, every field present (prev may
// be null but not absent), links in the blessed form. Unknown fields are allowed.
func (c *commit) decodeCommit(cid, raw []byte) error {
	*c = commit{cid: cid, raw: raw}
	if err := c.decode(); err != nil {
		return drop(24, "commit_object", err)
	}
	return nil
}

func (c *commit) decode() error {
	if !nodeCID(c.cid) {
		return errors.New("commit CID is not of codec dag-cbor")
	}
	r := dagcbor.Reader{Buf: c.raw}
	pairs, err := r.Map()
	if err != nil {
		return err
	}
	c.pairs, c.body = pairs, r.Off
	var key []byte
	have := 0
	for range pairs {
		from := r.Off
		if key, err = r.KeyAfter(key); err != nil {
			return err
		}
		bit, err := c.field(&r, string(key))
		if err != nil {
			return fmt.Errorf("%q: %w", key, err)
		}
		have |= bit
		if bit == hasSig {
			c.sigFrom, c.sigUpto = from, r.Off
		}
	}
	if r.Rest() != 0 {
		return dagcbor.ErrTrailing
	}
	if have != hasAll {
		return fmt.Errorf("a field is missing (have %06b)", have)
	}
	return nil
}

func (c *commit) field(r *dagcbor.Reader, key string) (bit int, err error) {
	switch key {
	case "did":
		c.did, err = r.Text()
		return hasDID, err
	case "rev":
		c.rev, err = r.Text()
		return hasRev, err
	case "sig":
		c.sig, err = r.Bytes()
		return hasSig, err
	case "data":
		c.data, err = readNodeLink(r)
		return hasData, err
	case "prev":
		if !r.Null() {
			_, err = readNodeLink(r)
		}
		return hasPrev, err
	case "version":
		v, err := r.Uint()
		if err == nil && v != repoVersion {
			err = fmt.Errorf("repo version %d, want %d", v, repoVersion)
		}
		return hasVersion, err
	}
	return 0, r.Skip()
}

func readNodeLink(r *dagcbor.Reader) ([]byte, error) {
	cid, err := r.CID()
	if err == nil && !nodeCID(cid) {
		err = errors.New("not a CIDv1 of codec dag-cbor and SHA-256")
	}
	return cid, err
}

// appendUnsigned appends what the signature signs: the block's map without `sig`,
// with unknown fields kept (the repository page, "Commit objects"). The block is
// canonical, so what is left after taking one pair out is too.
func (c *commit) appendUnsigned(dst []byte) []byte {
	dst = dagcbor.AppendHead(dst, dagcbor.MajorMap, uint64(c.pairs-1))
	dst = append(dst, c.raw[c.body:c.sigFrom]...)
	return append(dst, c.raw[c.sigUpto:]...)
}
