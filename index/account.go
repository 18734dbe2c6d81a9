package index

import "slices"

// Sizes of what a repo's state is made of (the repository and data-model pages of
// the AT Protocol specification).
const (
	RevSize = 13 // a TID
	CIDSize = 36 // a binary CIDv1 with SHA-256
)

// maxMarks is how many hosts' marks an account keeps: of those heard last, and that
// of its present host besides. An account moves seldom.
const maxMarks = 7

// Fields is a set of an Account's fields.
type Fields uint8

// The fields that an Account may have. Part of the format.
const (
	Upstream Fields = 1 << iota
	Local
	HostField
	RepoField
	allFields = 1<<iota - 1
)

// Has says whether every field of f is set.
func (s Fields) Has(f Fields) bool { return s&f == f }

// Status is a hosting status (the account page); zero is active.
type Status struct {
	Inactive bool
	Reason   string // "takendown", "deleted", …; may be ""
}

// Repo is the state of an account's repo.
type Repo struct {
	Rev    [RevSize]byte
	Data   [CIDSize]byte // root of the MST
	Commit [CIDSize]byte
}

// Mark is the last event of a host about an account that is in the log. The log has
// a host's events about an account in the host's own order, so it is the highest.
type Mark struct {
	Host  string
	At    uint64 // its seq in the log
	Epoch uint64 // host epoch
	Seq   uint64 // host seq
}

// Account is what a run of records says of one account: the whole log before a seq,
// or only a part of it, in which case fields that the part does not mention are not
// in Set.
//
// To apply record after record and to merge the Accounts of two adjoining runs give
// the same: a set field overrides, the last mark of a host stays. Of more than
// maxMarks hosts those heard last are kept, and the present one; since a run that
// does not name the present host cannot tell, it keeps all.
type Account struct {
	Set      Fields
	Upstream Status // as its host last said
	Local    Status // as we set it
	Host     string // that last spoke with authority
	Repo     Repo
	Marks    []Mark // heard last first; a host once
}

// Raise notes that a host spoke.
func (a *Account) Raise(m Mark) {
	i := slices.IndexFunc(a.Marks, func(o Mark) bool { return o.Host == m.Host })
	switch {
	case i < 0:
		a.Marks = append(a.Marks, m)
		i = len(a.Marks) - 1
	case m.At > a.Marks[i].At:
		a.Marks[i] = m
	default:
		return
	}
	for ; i > 0 && a.Marks[i-1].At < a.Marks[i].At; i-- {
		a.Marks[i-1], a.Marks[i] = a.Marks[i], a.Marks[i-1]
	}
}

// Merge applies what a later run of records says.
func (a *Account) Merge(later *Account) {
	a.Set |= later.Set
	if later.Set.Has(Upstream) {
		a.Upstream = later.Upstream
	}
	if later.Set.Has(Local) {
		a.Local = later.Local
	}
	if later.Set.Has(HostField) {
		a.Host = later.Host
	}
	if later.Set.Has(RepoField) {
		a.Repo = later.Repo
	}
	for _, m := range later.Marks {
		a.Raise(m)
	}
	a.bound(false)
}

// Apply merges the next run of records into a, which is all that the log before it
// says of the account.
func (a *Account) Apply(change *Account) {
	a.Merge(change)
	a.bound(true)
}

// bound forgets marks beyond those that are kept. whole says that nothing older is
// to come.
func (a *Account) bound(whole bool) {
	if len(a.Marks) <= maxMarks || !whole && !a.Set.Has(HostField) {
		return
	}
	kept := a.Marks[:maxMarks]
	for _, m := range a.Marks[maxMarks:] {
		if a.Set.Has(HostField) && m.Host == a.Host {
			kept = append(kept, m)
			break
		}
	}
	clear(a.Marks[len(kept):])
	a.Marks = kept
}

// reset empties a and keeps the room of its marks.
func (a *Account) reset() {
	marks := a.Marks[:0]
	clear(a.Marks)
	*a = Account{Marks: marks}
}
