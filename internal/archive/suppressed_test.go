package archive

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestAccountsThatAFolderNamesAreLeftOut(t *testing.T) {
	dir := t.TempDir()
	if got, err := ReadSuppressed([]string{dir, "http://relay.example", filepath.Join(dir, "nothing")}); got != nil || err != nil {
		t.Errorf("%v, %v", got, err)
	}
	path := filepath.Join(dir, SuppressedFile)
	if err := os.WriteFile(path, []byte(`{"did":"did:plc:a","status":"deleted"}`+"\n"+`{"did":"did:plc:b"}`+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if got, err := ReadSuppressed([]string{dir}); err != nil || len(got) != 2 || !got["did:plc:a"] || !got["did:plc:b"] {
		t.Errorf("%v, %v", got, err)
	}
	if err := os.WriteFile(path, []byte("{}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadSuppressed([]string{dir}); err == nil || !strings.Contains(err.Error(), "line 1") {
		t.Errorf("%v", err)
	}
}

func TestCommitsOfSuppressedAccountsAreNotPrinted(t *testing.T) {
	src := find(t, theSample(t).dir)
	all, without := new(bytes.Buffer), new(bytes.Buffer)
	if err := Cat(t.Context(), all, src, CatOptions{}); err != nil {
		t.Fatal(err)
	}
	did, _, _ := strings.Cut(strings.SplitAfterN(all.String(), `"did":"`, 2)[1], `"`)
	if err := Cat(t.Context(), without, src, CatOptions{Suppressed: map[string]bool{did: true}}); err != nil {
		t.Fatal(err)
	}
	left := 0
	for line := range strings.Lines(all.String()) {
		gone := strings.Contains(line, `"did":"`+did+`"`) && (strings.Contains(line, `"kind":"#commit"`) || strings.Contains(line, `"kind":"#sync"`))
		if strings.Contains(without.String(), line) == gone {
			t.Errorf("left out: %t: %.200s", gone, line)
		}
		if !gone {
			left++
		}
	}
	if left == 0 || left == strings.Count(all.String(), "\n") {
		t.Errorf("%d of %d lines are left", left, strings.Count(all.String(), "\n"))
	}
}
