package segmentlog

import "strings"

// Verdict is field 7 of a record: what was verified about an event and how it
// came. Bits are part of the format: do not change them. See docs/format/record.md.
type Verdict uint64

// What was verified (bits 0–7).
const (
	// Signature: the commit's signature verifies with the record's key.
	Signature Verdict = 1 << iota
	// Inversion: the ops, undone on the new tree, give prevData (or the empty tree).
	Inversion
	// Authority: the account's DID document named the host when the event came.
	Authority
	// Chain: prevData is the data root that the log knew for the account.
	Chain
)

// How it came (bits 8 and up).
const (
	// Reencoded: the upstream frame was not canonical; this is our encoding of it.
	Reencoded Verdict = 1 << (iota + 8)
	// Rewritten: an #account rewritten to the effective status.
	Rewritten
	// Local: an event of our own, not of any upstream.
	Local
	// StaleIdentity: verified with a cached DID document past its fresh time.
	StaleIdentity
	// PastKey: verified with an older key of the account's audit log.
	PastKey
	// Lenient: breaks a rule that --verify=lenient lets pass.
	Lenient
	// RecordDefect: a record block has floats, is not canonical, or has odd CIDs.
	RecordDefect
	// Repeat: a #sync at the stored rev with the stored commit.
	Repeat
	// FirstSeen: nothing was stored for the account.
	FirstSeen
	// Discontinuous: prevData is not the stored data root.
	Discontinuous
	// SinceMismatch: only `since` differs from the stored rev.
	SinceMismatch
	// Unproven: nothing to prove the new tree against.
	Unproven
)

// Unverified says that an event is the word of an upstream relay alone. Nothing of the event was verified
// but its form: --verify=off, or nobody said in time what the account's key is.
const Unverified Verdict = 1 << 24 // bits 20–23 are the host's word, see WithHostStatus

var verdictNames = []struct {
	bit  Verdict
	name string
}{
	{Signature, "signature"}, {Inversion, "inversion"}, {Authority, "authority"}, {Chain, "chain"},
	{Reencoded, "reencoded"}, {Rewritten, "rewritten"}, {Local, "local"}, {StaleIdentity, "stale-identity"},
	{PastKey, "past-key"}, {Lenient, "lenient"}, {RecordDefect, "record-defect"}, {Repeat, "repeat"},
	{FirstSeen, "first-seen"}, {Discontinuous, "discontinuous"}, {SinceMismatch, "since"}, {Unproven, "unproven"},
	{Unverified, "unverified"},
}

// Has says whether every bit of f is set.
func (v Verdict) Has(f Verdict) bool { return v&f == f }

// String lists the set bits by name, separated by "+"; unknown bits are left out.
func (v Verdict) String() string {
	var names []string
	for _, n := range verdictNames {
		if v.Has(n.bit) {
			names = append(names, n.name)
		}
	}
	return strings.Join(names, "+")
}
