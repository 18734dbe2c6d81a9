package accounts

import (
	"slices"
	"unique"
)

// cidLen is the length of a binary CIDv1 with SHA-256, the only form that the
// repository page allows and the verifier accepts.
const cidLen = 36

// maxMarks bounds the hosts remembered for an account. An account moves seldom; what
// a mark that fell out could have told apart, rev order still does.
const maxMarks = 8

// entry is an account packed: about 220 bytes with its DID and map cell.
type entry struct {
	host            unique.Handle[string]
	upstream, local packed
	repo            packedRepo
	first           mark   // most accounts know one host
	more            []mark // the others, oldest first
}

// mark is the highest event of a host that is in the log.
type mark struct {
	host       unique.Handle[string]
	epoch, seq uint64
}

func (m mark) before(o mark) bool {
	return m.epoch < o.epoch || (m.epoch == o.epoch && m.seq < o.seq)
}

var noHost unique.Handle[string]

// mark returns what is known of a host, by its name: comparing beats looking it up.
func (e *entry) mark(host string) *mark {
	if e.first.host == noHost {
		return nil
	}
	if e.first.host.Value() == host {
		return &e.first
	}
	for i := range e.more {
		if e.more[i].host.Value() == host {
			return &e.more[i]
		}
	}
	return nil
}

// raise stores a host's mark unless it is already as high, and returns the host.
func (e *entry) raise(host string, epoch, seq uint64) unique.Handle[string] {
	m := mark{epoch: epoch, seq: seq}
	if at := e.mark(host); at != nil {
		m.host = at.host
		if at.before(m) {
			*at = m
		}
		return m.host
	}
	m.host = unique.Make(host)
	switch {
	case e.first.host == noHost:
		e.first = m
	case len(e.more) < maxMarks-1:
		e.more = append(e.more, m)
	default:
		e.forget()
		e.more = append(e.more, m)
	}
	return m.host
}

// forget drops the oldest mark that is not of the account's present host.
func (e *entry) forget() {
	i := 0
	if e.first.host != e.host {
		e.first = e.more[0]
	} else if e.more[0].host == e.host {
		i = 1
	}
	e.more = slices.Delete(e.more, i, i+1)
}

// packed is a Status whose reason is shared between accounts.
type packed struct {
	reason   unique.Handle[string]
	inactive bool
}

func pack(s Status) packed {
	if !s.Inactive {
		return packed{}
	}
	return packed{reason: unique.Make(s.Reason), inactive: true}
}

func (p packed) status() Status {
	if !p.inactive {
		return Status{}
	}
	return Status{Inactive: true, Reason: p.reason.Value()}
}

// packedRepo is a Repo without slice headers.
type packedRepo struct {
	rev          string
	data, commit [cidLen]byte
}

// set stores r. A state that is not of the one form that the verifier accepts is
// not stored: the account then counts as first seen again.
func (p *packedRepo) set(r Repo) {
	if len(r.Data) != cidLen || len(r.Commit) != cidLen {
		*p = packedRepo{}
		return
	}
	p.rev = r.Rev
	copy(p.data[:], r.Data)
	copy(p.commit[:], r.Commit)
}

// repo aliases p.
func (p *packedRepo) repo() Repo {
	if p.rev == "" {
		return Repo{}
	}
	return Repo{Rev: p.rev, Data: p.data[:], Commit: p.commit[:]}
}

// account aliases e.
func (e *entry) account() Account {
	a := Account{Upstream: e.upstream.status(), Local: e.local.status(), Repo: e.repo.repo()}
	if e.host != noHost {
		a.Host = e.host.Value()
	}
	return a
}
