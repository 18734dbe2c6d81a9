package frame

// Kind says which message of com.atproto.sync.subscribeRepos a frame is.
type Kind uint8

// The kinds. Unknown is a well-formed message whose op or t we do not know (row
// T3: ignored); Error is a frame with op -1.
const (
	Unknown Kind = iota
	Commit
	Sync
	Identity
	Account
	Info
	Error
)

// Op is one repo operation of a #commit. CIDs are binary, without the 0x00 prefix
// of their CBOR form; nil means null or absent.
type Op struct {
	Action string // "create", "update", "delete", or whatever the host wrote
	Path   string
	CID    []byte
	Prev   []byte
}

// Event is a parsed frame. Its byte slices alias the frame (or its re-encoded
// form) and live as long as that does.
type Event struct {
	Kind Kind
	Type string // the header's t
	Seq  uint64 // the upstream's number; 0 for kinds without one

	DID      string // `repo` of a #commit, `did` of the others
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

	// The canonical frame is Head, the seq as a minimal CBOR uint, Tail.
	Head, Tail []byte
	// Reencoded is true when the frame was readable but not canonical, or lacked
	// fields that strict clients want, and Head and Tail are our own encoding
	// (rows T6 and T7).
	Reencoded bool
}
