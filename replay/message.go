package replay

import "github.com/cistern-archive/cistern/segmentlog/dagcbor"

// The names of error frames and #info messages (lexicon
// com.atproto.sync.subscribeRepos; the last two are Cistern's own).
const (
	FutureCursor    = "FutureCursor"
	ConsumerTooSlow = "ConsumerTooSlow"
	OutdatedCursor  = "OutdatedCursor"
	StreamMismatch  = "StreamMismatch"
	InternalError   = "InternalError"
)

// ErrorMessage is the payload of a WebSocket message that holds an error frame
// (event-stream page): {op: -1} and {error, message}.
func ErrorMessage(name, message string) []byte {
	b := dagcbor.AppendHead(nil, dagcbor.MajorMap, 1)
	b = dagcbor.AppendText(b, "op")
	b = dagcbor.AppendHead(b, dagcbor.MajorNint, 0) // -1
	b = dagcbor.AppendHead(b, dagcbor.MajorMap, 2)
	b = dagcbor.AppendText(b, "error")
	b = dagcbor.AppendText(b, name)
	b = dagcbor.AppendText(b, "message")
	return dagcbor.AppendText(b, message)
}

// InfoMessage is the payload of a WebSocket message that holds an #info: {op: 1, t:
// "#info"} and {name, message}, keys in the order of DAG-CBOR.
func InfoMessage(name, message string) []byte {
	b := dagcbor.AppendHead(nil, dagcbor.MajorMap, 2)
	b = dagcbor.AppendText(b, "t")
	b = dagcbor.AppendText(b, "#info")
	b = dagcbor.AppendText(b, "op")
	b = dagcbor.AppendUint(b, 1)
	b = dagcbor.AppendHead(b, dagcbor.MajorMap, 2)
	b = dagcbor.AppendText(b, "name")
	b = dagcbor.AppendText(b, name)
	b = dagcbor.AppendText(b, "message")
	return dagcbor.AppendText(b, message)
}
