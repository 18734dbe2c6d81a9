package frame

// Kind says which message of com.atproto.sync.subscribeRepos a frame is.
type Kind uint8

// The kinds. Unknown is a well-formed message whose op or t we do not know (row
// T3: ignored); ErrorFrame is one with op -1.
const (
	Unknown Kind = iota
	Commit
	Sync
	Identity
	Account
	Info
	ErrorFrame
)

// Op is one repo operation of a #commit. CIDs are binary, without the 0x00 prefix
// of their CBOR form; nil means null or absent.
type Op struct {
	Action string // "create", "update", "delete", or whatever the host wrote
	Path   string
	CID    []byte
	Prev   []byte

	path []byte // Path before it is a string; nil once the frame is parsed
}

// Event is a parsed frame. Its byte slices alias the frame (or its re-encoded
// form) and live as long as that does.
type Event struct {
	Kind Kind
	Type string // the header's t, cut to 64 bytes when the kind is Unknown
	Seq  uint64 // the upstream's number; 0 for kinds without one

	DID      string // `repo` of a #commit, `did` of the others; any text: see ValidDID
	Time     string
	Rev      string
	Since    string // "" for null
	Commit   []byte
	PrevData []byte // nil for absent
	Blocks   []byte
	Ops      []Op
	TooBig   bool
	Rebase   bool

	Handle string
	Active bool
	Status string

	Name    string // #info name, or the error of an error frame
	Message string

	// The canonical frame is Head, the seq as a minimal CBOR uint, Tail. Both are nil
	// for the kinds without a seq, which are never served on.
	Head, Tail []byte
	// Reencoded is true when the frame was readable but not canonical, or lacked
	// fields that strict clients want, and Head and Tail are our own encoding
	// (rows T6 and T7).
	Reencoded bool
}

// Reset empties the event for use again and keeps the room of its Ops.
func (e *Event) Reset() {
	clear(e.Ops) // what they alias may go
	*e = Event{Ops: e.Ops[:0]}
}
