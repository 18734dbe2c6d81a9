package ship

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"github.com/cockroachdb/errors/oserror"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/cistern-archive/cistern/segmentlog"
)

// holderFile is in the data directory what the lease is in the archive.
const holderFile = "archive.json"

// holder says who a data directory is to an archive.
type holder struct {
	Version int    `json:"version"`
	ID      string `json:"holder"` // random, made once
	// Stream is the stream that the directory was attached for, "" before the first time.
	Stream string `json:"stream,omitempty"`
	// Archive is where, for people.
	Archive string `json:"archive,omitempty"`
	// Nonce is that of a lease of this directory, Next the one that was to follow it when
	// the directory was attached last: a lease has one of the two unless another copy of
	// the directory was started since.
	Nonce string `json:"nonce,omitempty"`
	Next  string `json:"next_nonce,omitempty"`
}

// began says whether the directory itself, and no other copy of it, was what wrote a
// lease last. A directory that knows no nonce is of before they were noted.
func (h *holder) began(l *Lease) bool {
	return l.Holder == h.ID && (h.Nonce == "" && h.Next == "" || l.Nonce == h.Nonce || l.Nonce == h.Next)
}

// readHolder returns the directory's holder, a new one where there is none yet.
func readHolder(fs vfs.FS, dir string) (holder, error) {
	path := fs.PathJoin(dir, holderFile)
	b, err := segmentlog.ReadFile(fs, path)
	if oserror.IsNotExist(err) {
		return holder{Version: 1, ID: randomID()}, nil
	}
	var h holder
	if err == nil {
		err = json.Unmarshal(b, &h)
	}
	if err == nil && (h.Version != 1 || h.ID == "") {
		err = fmt.Errorf("version %d, holder %q", h.Version, h.ID)
	}
	if err != nil {
		return h, fmt.Errorf("%s: %w", path, err)
	}
	return h, nil
}

func (h holder) write(fs vfs.FS, dir string) error {
	b, err := json.MarshalIndent(h, "", "  ")
	if err != nil {
		return err
	}
	return segmentlog.ReplaceFile(fs, dir, holderFile, append(b, '\n'))
}

func randomID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	return hex.EncodeToString(b[:])
}
