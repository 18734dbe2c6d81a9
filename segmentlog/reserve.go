package segmentlog

import (
	"encoding/json"
	"fmt"

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
}

func readReservation(fs vfs.FS, dir string) (reservation, error) {
	var r reservation
	path := fs.PathJoin(dir, reservedFile)
	b, err := readFile(fs, path)
	if oserror.IsNotExist(err) {
		return r, nil
	}
	if err != nil {
		return r, err
	}
	if err := json.Unmarshal(b, &r); err != nil {
		return r, fmt.Errorf("%s: %w: without it numbers could be used twice; "+
			"restore it, or write {\"epoch\":N,\"through\":M} with M above every number ever served", path, err)
	}
	return r, nil
}

func (r reservation) write(fs vfs.FS, dir string) error {
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return replaceFile(fs, dir, reservedFile, append(b, '\n'))
}
