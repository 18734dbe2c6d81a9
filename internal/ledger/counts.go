package ledger

import (
	"math/bits"
	"time"

	"github.com/cistern-archive/cistern/internal/frame"
	"github.com/cistern-archive/cistern/segmentlog"
)

const (
	// numKinds is how many kinds of events can be accepted. Part of the format.
	numKinds = int(frame.Account-frame.Commit) + 1
	// numFlags is how many bits of a verdict can be flags; see segmentlog.Verdict.
	numFlags = 32
)

// BroughtByAnother is the reason under which an event of a relay is ignored that another relay
// had brought.
const BroughtByAnother = "brought_by_another"

// Counts are what is counted of a host in an hour, apart from what has a reason.
type Counts struct {
	// Received are the binary messages that came, whatever became of them. Those that
	// are neither accepted nor dropped nor ignored, Infos nor Errors, wait for an
	// answer or were left when the process stopped.
	Received uint64
	Bytes    uint64           // of what was received
	Kinds    [numKinds]uint64 // accepted, by kind: #commit, #sync, #identity, #account
	Flags    [numFlags]uint64 // accepted, by bit of the verdict
	Infos    uint64           // #info messages
	Errors   uint64           // error frames

	Connections uint64 // that were established
	Restarts    uint64 // of the host's numbering (row T4)

	// Outdated are the times that the host said it no longer has what came after our
	// cursor (row T5): events are missing.
	Outdated Gap
	// Resumed are connections whose first new event did not have the number after our
	// cursor. Many hosts number with gaps: it is no claim that anything is missing.
	Resumed Gap
	// Skipped are the gaps in the numbers of a relay whose numbers the log keeps, and
	// SkippedNumbers is how many numbers they have: they name no event here either.
	Skipped        Gap
	SkippedNumbers uint64

	Behind Behind
}

// Gap counts something between two numbers of a host, and has the last of them.
type Gap struct {
	Count  uint64
	Cursor uint64 // what we asked to go on from
	First  uint64 // the first number that came then, 0 while none did
}

// Behind is how much older the host's events were than our clock, in milliseconds,
// never below 0. It is measured on one event a second at most.
type Behind struct {
	Known     bool // something was measured
	Last, Max uint64
}

// Accepted is how many events entered the log.
func (c *Counts) Accepted() (n uint64) {
	for _, k := range c.Kinds {
		n += k
	}
	return n
}

// accept counts an event that entered the log.
func (c *Counts) accept(kind frame.Kind, v segmentlog.Verdict) {
	if i := int(kind) - int(frame.Commit); i >= 0 && i < numKinds {
		c.Kinds[i]++
	}
	for f := uint64(v) & flagMask; f != 0; f &= f - 1 {
		c.Flags[bits.TrailingZeros64(f)]++
	}
}

// add puts what was counted later to what was counted before.
func (c *Counts) add(later *Counts) {
	c.Received += later.Received
	c.Bytes += later.Bytes
	for i := range later.Kinds {
		c.Kinds[i] += later.Kinds[i]
	}
	for i := range later.Flags {
		c.Flags[i] += later.Flags[i]
	}
	c.Infos += later.Infos
	c.Errors += later.Errors
	c.Connections += later.Connections
	c.Restarts += later.Restarts
	c.Outdated.add(&later.Outdated)
	c.Resumed.add(&later.Resumed)
	c.Skipped.add(&later.Skipped)
	c.SkippedNumbers += later.SkippedNumbers
	if later.Behind.Known {
		c.Behind = Behind{Known: true, Last: later.Behind.Last, Max: max(c.Behind.Max, later.Behind.Max)}
	}
}

// add keeps the later numbers, where there are any.
func (g *Gap) add(later *Gap) {
	g.Count += later.Count
	if *later != (Gap{}) {
		g.Cursor, g.First = later.Cursor, later.First
	}
}

// measure notes that an event is d old.
func (b *Behind) measure(d time.Duration) {
	ms := uint64(max(d.Milliseconds(), 0))
	*b = Behind{Known: true, Last: ms, Max: max(b.Max, ms)}
}

// KindNames are the kinds of Counts.Kinds, as hosts write them without the #.
func KindNames() [numKinds]string { return [...]string{"commit", "sync", "identity", "account"} }

// FlagName is the name of a bit of the verdict, "" when it is no flag.
func FlagName(bit int) string { return segmentlog.Verdict(1 << bit).String() }

// flagMask has the bits that are flags.
var flagMask = func() (mask uint64) {
	for bit := range numFlags {
		if FlagName(bit) != "" {
			mask |= 1 << bit
		}
	}
	return mask
}()
