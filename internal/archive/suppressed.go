package archive

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// SuppressedFile is in a folder that `cistern archive pull` filled: JSON Lines of accounts
// whose events must not be passed on.
const SuppressedFile = "suppressed.jsonl"

// ReadSuppressed returns the accounts that the folders among places name, nil for none.
func ReadSuppressed(places []string) (map[string]bool, error) {
	var out map[string]bool
	for _, place := range places {
		if isURL(place) {
			continue
		}
		path := filepath.Join(place, SuppressedFile)
		b, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) || err != nil && !isDir(place) {
			continue
		}
		if err != nil {
			return nil, err
		}
		lines := bufio.NewScanner(bytes.NewReader(b))
		for n := 1; lines.Scan(); n++ {
			var line struct {
				DID string `json:"did"`
			}
			if err := json.Unmarshal(lines.Bytes(), &line); err != nil || line.DID == "" {
				return nil, fmt.Errorf("%s: line %d names no account", path, n)
			}
			if out == nil {
				out = map[string]bool{}
			}
			out[line.DID] = true
		}
		if err := lines.Err(); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
	}
	return out, nil
}

func isDir(path string) bool {
	st, err := os.Stat(path)
	return err == nil && st.IsDir()
}
