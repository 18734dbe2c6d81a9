package identity

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/cistern-archive/cistern/index/disposable"
	"github.com/cistern-archive/cistern/internal/signing"
)

// A stored document. Keys are 'd' and the DID; values are
//
//	fetched (Unix seconds, unsigned varint) · key (multicodec, 35 bytes) · hash (32) · host (the rest)
//
// Only documents that are of use are stored: no negative answers. The layout is
// numbered by storeSchema.
const (
	spaceDocument = 'd'
	spaceMeta     = 'm'

	// storeSchema is raised with any change of keys and values: a store of another number
	// is discarded.
	storeSchema = 1
)

// maxHost bounds a host, in bytes: a name of 253 and a port (RFC 1035, section 2.3.4).
const maxHost = 253 + len(":65535")

// storedDocument is what is stored of an account.
type storedDocument struct {
	key     *signing.Key
	host    string
	hash    [32]byte
	fetched time.Time
}

func documentKey(did string) []byte { return append([]byte{spaceDocument}, did...) }

// value is the stored form.
func (d *storedDocument) value() []byte {
	v := make([]byte, 0, binary.MaxVarintLen64+signing.MulticodecSize+len(d.hash)+len(d.host))
	v = binary.AppendUvarint(v, uint64(max(d.fetched.Unix(), 0)))
	v = d.key.AppendMulticodec(v)
	v = append(v, d.hash[:]...)
	return append(v, d.host...)
}

// decodeValue reads the stored form. Its error is a disposable.ErrValue.
func decodeValue(b []byte) (storedDocument, error) {
	var d storedDocument
	seconds, rest, err := decodeFetched(b)
	if err != nil {
		return d, err
	}
	const fixed = signing.MulticodecSize + len(d.hash)
	if len(rest) <= fixed || len(rest) > fixed+maxHost {
		return d, fmt.Errorf("document of %d bytes: %w", len(b), disposable.ErrValue)
	}
	if d.key, err = signing.ParseMulticodec(rest[:signing.MulticodecSize]); err != nil {
		return d, fmt.Errorf("%w: %w", disposable.ErrValue, err)
	}
	d.hash = [32]byte(rest[signing.MulticodecSize:])
	d.host = string(rest[fixed:])
	d.fetched = time.Unix(seconds, 0)
	return d, nil
}

// decodeFetched reads when a document was fetched, in Unix seconds, which is all that
// a sweep needs.
func decodeFetched(b []byte) (seconds int64, rest []byte, err error) {
	v, n := binary.Uvarint(b)
	if n <= 0 || v > 1<<40 {
		return 0, nil, fmt.Errorf("time of a document: %w", disposable.ErrValue)
	}
	return int64(v), b[n:], nil
}
