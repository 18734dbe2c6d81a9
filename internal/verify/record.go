package verify

import (
	"fmt"

	"github.com/fxamacker/cbor/v2"

	"github.com/cistern-archive/cistern/segmentlog/dagcbor"
)

// maxRecordDepth bounds nesting of a record: a deeper one counts as not well-formed,
// because common decoders give up on it or overflow their stack.
const maxRecordDepth = 512

// lenientCBOR checks well-formedness (RFC 8949, appendix C) of what is not canonical.
var lenientCBOR = func() cbor.DecMode {
	mode, err := cbor.DecOptions{
		MaxNestedLevels:  maxRecordDepth,
		MaxArrayElements: 1<<31 - 1,
		MaxMapPairs:      1<<31 - 1,
	}.DecMode()
	if err != nil {
		panic(err) // constants only
	}
	return mode
}()

// checkRecords checks the record block of each create and update, and says whether
// one has defects and whether one is absent.
func (v *Verifier) checkRecords() (defect, absent bool, err error) {
	for i := range v.ops {
		o := &v.ops[i]
		if o.kind == remove {
			continue
		}
		b := v.blocks.find(o.cid)
		if b == nil {
			absent = true
			continue
		}
		if err := checkRecordSize(b.data); err != nil {
			return false, false, err
		}
		d, err := checkRecordContent(b.data)
		if err != nil {
			return false, false, err
		}
		defect = defect || d || b.cid[1] != codecDagCBOR
	}
	return defect, absent, nil
}

// T20, sync page: a record has at most 1,000,000 bytes.
func checkRecordSize(record []byte) error {
	if len(record) > MaxRecordSize {
		return drop(20, "record_size", fmt.Errorf("%d bytes, want at most %d", len(record), MaxRecordSize))
	}
	return nil
}

// checkRecordContent reads a record's block.
//
// T32, checklist: it must be one well-formed CBOR item; floats, a form that is not
// canonical, CIDs in odd forms, integers that clients cannot hold and anything but a
// map are defects that pass with a flag. Lexicons are never checked.
func checkRecordContent(record []byte) (defect bool, err error) {
	r := dagcbor.Reader{Buf: record, DataModel: true}
	first, _ := r.Peek()
	if first>>5 == dagcbor.MajorMap && r.Skip() == nil && r.Rest() == 0 {
		return false, nil
	}
	if err := lenientCBOR.Wellformed(record); err != nil {
		return false, drop(32, "record_not_cbor", err)
	}
	return true, nil
}
