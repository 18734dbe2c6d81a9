package segmentlog

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/cockroachdb/errors/oserror"
	"github.com/cockroachdb/pebble/v2/vfs"
)

const (
	reservedFile = "reserved.json"
	// reserveBlock is how many numbers are reserved ahead of what is written.
	reserveBlock = 65536
)

// reservation is reserved.json: no number above Through was ever written or
// seen. It is synced before the first record above the last Through is written.
type reservation struct {
	Epoch   uint64 `json:"epoch"`
	Through uint64 `json:"through"`
	// Next is set by a clean shutdown alone: the number to go on with. Without it
	// writing goes on at Through+1, since numbers up to Through may have been seen.
	Next uint64 `json:"next,omitempty"`
	// Last is the seq of the last record at a clean shutdown, 0 for an empty log: a
	// log that ends before it has lost something.
	Last uint64 `json:"last,omitempty"`
	// Check is the CRC-32C of this object's encoding without it. A file written by
	// hand may leave it out.
	Check *uint32 `json:"crc32c,omitempty"`
}

// clean says whether a clean shutdown wrote the reservation.
func (r *reservation) clean() bool { return r.Next > 0 }

func readReservation(fs vfs.FS, dir string) (reservation, error) {
	var r reservation
	path := fs.PathJoin(dir, reservedFile)
	b, err := ReadFile(fs, path)
	if oserror.IsNotExist(err) {
		return r, nil
	}
	if err != nil {
		return r, err
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields() // a name that rotted must not count as a zero
	err = dec.Decode(&r)
	if err == nil && r.Check != nil && *r.Check != r.checksum() {
		err = errors.New("it does not match its CRC-32C")
	}
	if err == nil && (r.Epoch == 0 || r.Through == 0 && !r.clean()) {
		err = errors.New("epoch or through is missing")
	}
	if err != nil {
		return r, fmt.Errorf("%s: %w: without it numbers could be used twice; "+
			"restore it, or write {\"epoch\":N,\"through\":M} with M above every number ever served", path, err)
	}
	return r, nil
}

// checksum is the CRC-32C of the encoding without Check.
func (r reservation) checksum() uint32 {
	r.Check = nil
	b, _ := json.Marshal(r) // four integers
	return crc32.Checksum(b, castagnoli)
}

func (r reservation) write(fs vfs.FS, dir string) error {
	sum := r.checksum()
	r.Check = &sum
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return ReplaceFile(fs, dir, reservedFile, append(b, '\n'))
}
