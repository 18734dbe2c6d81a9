// Command archive counts the events of each kind in segment files, and proves each file
// as it goes:
//
//	go run ./examples/archive data/segments/*.cbor.zst
package main

import (
	"fmt"
	"os"
	"time"

	"github.com/cistern-archive/cistern/segmentlog"
)

func main() {
	for _, path := range os.Args[1:] {
		if err := read(path); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
}

func read(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	seg, err := segmentlog.OpenSegment(path, f, st.Size())
	if err != nil {
		return err
	}
	accounts := map[string]int{}
	for rec, err := range seg.Records(0) { // each block's SHA-256 is checked
		if err != nil {
			return err
		}
		accounts[string(rec.DID)]++
	}
	ft := seg.Footer()
	fmt.Println(path, time.UnixMicro(ft.FirstWitnessed).UTC(), ft.Count, "events of", len(accounts), "accounts", ft.Kinds)
	return nil
}
