package archive

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/cistern-archive/cistern/segmentlog"
)

// parseHash reads a hash in lower-case hexadecimal.
func parseHash(s string) ([]byte, error) {
	if len(s) != 2*segmentlog.HashSize {
		return nil, fmt.Errorf("%d characters, a hash has %d hexadecimal digits", len(s), 2*segmentlog.HashSize)
	}
	b, err := hex.DecodeString(s)
	if err == nil && hex.EncodeToString(b) != s {
		err = errors.New("upper-case digits")
	}
	return b, err
}

func sha256Hex(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// strictJSON decodes one value without unknown fields.
func strictJSON(b []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something stands behind it")
	}
	return nil
}
