package ingest

// Position is where the reading of a host goes on after a start: what the log's
// records say of the host.
type Position struct {
	Host  string // as the log writes it
	Epoch uint64 // host epoch
	Floor uint64 // every upstream seq up to it is in the log or was decided against
}
