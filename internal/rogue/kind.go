package rogue

import "slices"

// Kind is one way to break the rules.
type Kind string

// The kinds that break the handshake.
const (
	Mute           Kind = "mute"            // reads the request and says nothing
	SlowHeaders    Kind = "slow-headers"    // a header each Options.Every, without end
	EndlessHeaders Kind = "endless-headers" // the same as fast as they go
	EndlessLine    Kind = "endless-line"    // one header that never ends
	EndlessBody    Kind = "endless-body"    // not a 101, and a body without end
	Garbage        Kind = "garbage"         // random bytes instead of HTTP
	Compressed     Kind = "compressed"      // takes an extension that was not offered, and inflates
	CutResponse    Kind = "cut-response"    // ends behind byte k of its answer: 0, 1, 2 … with each connection
	ResetResponse  Kind = "reset-response"  // the same with a TCP reset
	SplitResponse  Kind = "split-response"  // honest, but its answer, and all after it, comes in two pieces, split behind byte k
)

// The kinds that break the stream.
const (
	CutMessage     Kind = "cut-message"     // ends behind byte k of the last message that it has
	ResetMessage   Kind = "reset-message"   // the same with a TCP reset
	TinyFragments  Kind = "tiny-fragments"  // a message without end in fragments of one byte
	EmptyFragments Kind = "empty-fragments" // of none
	LargeFragments Kind = "large-fragments" // of 64 KiB
	SlowFragments  Kind = "slow-fragments"  // of one byte each Options.Every, with pongs
	LyingLength    Kind = "lying-length"    // a message that says it has 2^62 bytes, and does its best
	PingFlood      Kind = "ping-flood"
	PongFlood      Kind = "pong-flood"
	Text           Kind = "text"      // a text message
	Reserved       Kind = "reserved"  // a frame with an opcode that means nothing
	Oversized      Kind = "oversized" // messages of 6 MB, whole
	Silent         Kind = "silent"    // says nothing after the upgrade, not even pongs
	Resets         Kind = "resets"    // resets the connection at random amid honest messages
)

// scripts play a connection after its request was read.
var scripts = map[Kind]struct {
	play  func(*Host, *peer)
	early bool // breaks the handshake
}{
	Mute:           {(*Host).mute, true},
	SlowHeaders:    {(*Host).slowHeaders, true},
	EndlessHeaders: {(*Host).endlessHeaders, true},
	EndlessLine:    {(*Host).endlessLine, true},
	EndlessBody:    {(*Host).endlessBody, true},
	Garbage:        {(*Host).garbage, true},
	Compressed:     {(*Host).compressed, false},
	CutResponse:    {(*Host).cutResponse, false},
	ResetResponse:  {(*Host).resetResponse, false},
	SplitResponse:  {(*Host).splitResponse, false},
	CutMessage:     {(*Host).cutMessage, false},
	ResetMessage:   {(*Host).resetMessage, false},
	TinyFragments:  {fragments(1), false},
	EmptyFragments: {fragments(0), false},
	LargeFragments: {fragments(64 << 10), false},
	SlowFragments:  {(*Host).slowFragments, false},
	LyingLength:    {(*Host).lyingLength, false},
	PingFlood:      {flood(opPing), false},
	PongFlood:      {flood(opPong), false},
	Text:           {(*Host).text, false},
	Reserved:       {(*Host).reserved, false},
	Oversized:      {(*Host).oversized, false},
	Silent:         {(*Host).silent, false},
	Resets:         {(*Host).resets, false},
}

// Kinds lists all kinds in alphabetical order.
func Kinds() []Kind {
	kinds := make([]Kind, 0, len(scripts))
	for k := range scripts {
		kinds = append(kinds, k)
	}
	slices.Sort(kinds)
	return kinds
}

// Early says whether the kind breaks every answer, so that even a request other than
// subscribeRepos is not answered.
func (k Kind) Early() bool { return scripts[k].early }
