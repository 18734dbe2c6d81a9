// Package checkpoint keeps copies of derived state in the archive, so that a relay whose
// disk was lost need not read the whole log again (docs/format/checkpoint.md):
//
//	checkpoints/<seq>/0000.cbor.zst …   keys and values of the index, by the hash of the DID
//	checkpoints/<seq>/manifest.json     written last: without it the rest is nothing
//
// A checkpoint is a convenience: one that is missing, damaged, of another layout or ahead
// of the log is passed over, and the log is read from the one before, or from its
// beginning. It says nothing that the log does not say.
package checkpoint
