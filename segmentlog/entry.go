package segmentlog

// Entry is an event on its way into the log: everything of a record but what the
// log itself decides (seq, witnessed, digest, crc).
type Entry struct {
	DID       string
	Host      string // upstream hostname, with port when not default; "" for an event of our own
	HostEpoch uint64
	HostSeq   uint64
	HostFloor uint64
	Verdict   Verdict
	Key       []byte // multicodec public key that verified the signature, nil for none

	// The frame is Head, the seq as a minimal CBOR uint, Tail.
	Head, Tail []byte
}
