package operator

import (
	"maps"
	"slices"
	"strings"
)

// HostLimits are the limits of one host that an operator set; nil is the default.
type HostLimits struct {
	Accounts  *int64 // active accounts
	PerSecond *int64 // events
	PerHour   *int64
	PerDay    *int64
}

// state is what all decisions together say.
type state struct {
	takedowns map[string]bool // by DID; false: lifted again
	blocked   map[string]bool // hostnames
	banned    map[string]bool // domains
	limits    map[string]HostLimits
	newHosts  *int64
}

func newState() *state {
	return &state{
		takedowns: make(map[string]bool),
		blocked:   make(map[string]bool),
		banned:    make(map[string]bool),
		limits:    make(map[string]HostLimits),
	}
}

// apply takes over a decision that was checked.
func (s *state) apply(d *Decision) {
	switch d.Action {
	case Takedown:
		s.takedowns[d.Subject] = true
	case ReverseTakedown:
		s.takedowns[d.Subject] = false
	case BlockHost:
		s.blocked[d.Subject] = true
	case UnblockHost:
		delete(s.blocked, d.Subject)
	case BanDomain:
		s.banned[d.Subject] = true
	case UnbanDomain:
		delete(s.banned, d.Subject)
	case LimitAccounts, LimitEvents:
		s.limit(d)
	case LimitNewHosts:
		s.newHosts = d.Limit
	}
}

func (s *state) limit(d *Decision) {
	l := s.limits[d.Subject]
	if d.Action == LimitAccounts {
		l.Accounts = d.Limit
	} else {
		l.PerSecond, l.PerHour, l.PerDay = d.PerSecond, d.PerHour, d.PerDay
	}
	if l == (HostLimits{}) {
		delete(s.limits, d.Subject)
		return
	}
	s.limits[d.Subject] = l
}

// changes says whether a decision would change anything.
func (s *state) changes(d *Decision) bool {
	l := s.limits[d.Subject]
	switch d.Action {
	case Takedown, ReverseTakedown:
		return s.takedowns[d.Subject] != (d.Action == Takedown)
	case BlockHost, UnblockHost:
		return s.blocked[d.Subject] != (d.Action == BlockHost)
	case BanDomain, UnbanDomain:
		return s.banned[d.Subject] != (d.Action == BanDomain)
	case LimitAccounts:
		return !same(l.Accounts, d.Limit)
	case LimitEvents:
		return !same(l.PerSecond, d.PerSecond) || !same(l.PerHour, d.PerHour) || !same(l.PerDay, d.PerDay)
	case LimitNewHosts:
		return !same(s.newHosts, d.Limit)
	}
	return true
}

func same(a, b *int64) bool { return a == b || a != nil && b != nil && *a == *b }

// banOf returns the decision's subject that keeps a host from being crawled: the host
// itself, or a domain that it is in.
func (s *state) banOf(host string) (subject string, banned bool) {
	if s.blocked[host] {
		return host, true
	}
	name, port, _ := strings.Cut(host, ":")
	if strings.Contains(port, ":") {
		return "", false // an IPv6 address is in no domain
	}
	for {
		if s.banned[name] {
			return name, true
		}
		var more bool
		if _, name, more = strings.Cut(name, "."); !more {
			return "", false
		}
	}
}

// Banned says whether a host, named as the log writes it, is not to be crawled, and
// what it is that was blocked or banned: the host or a domain above it.
func (j *Journal) Banned(host string) (subject string, banned bool) {
	j.mu.RLock()
	defer j.mu.RUnlock()
	return j.state.banOf(host)
}

// BlockedHosts lists the hosts that are blocked by name, sorted.
func (j *Journal) BlockedHosts() []string {
	j.mu.RLock()
	defer j.mu.RUnlock()
	return slices.Sorted(maps.Keys(j.state.blocked))
}

// DomainBans lists the banned domains, sorted.
func (j *Journal) DomainBans() []string {
	j.mu.RLock()
	defer j.mu.RUnlock()
	return slices.Sorted(maps.Keys(j.state.banned))
}

// TakenDown says whether an account is taken down.
func (j *Journal) TakenDown(did string) bool {
	j.mu.RLock()
	defer j.mu.RUnlock()
	return j.state.takedowns[did]
}

// Takedowns lists the accounts that are taken down, sorted.
func (j *Journal) Takedowns() []string {
	j.mu.RLock()
	defer j.mu.RUnlock()
	return j.state.takedownsThatAre(true)
}

// Lifted lists the accounts whose takedown was lifted, sorted.
func (j *Journal) Lifted() []string {
	j.mu.RLock()
	defer j.mu.RUnlock()
	return j.state.takedownsThatAre(false)
}

func (s *state) takedownsThatAre(down bool) (dids []string) {
	for did, is := range s.takedowns {
		if is == down {
			dids = append(dids, did)
		}
	}
	slices.Sort(dids)
	return dids
}

// Limits returns the limits that were set for a host.
func (j *Journal) Limits(host string) HostLimits {
	j.mu.RLock()
	defer j.mu.RUnlock()
	return j.state.limits[host]
}

// NewHostsPerDay returns how many hosts a day may come by requestCrawl, and false when
// nobody decided it.
func (j *Journal) NewHostsPerDay() (limit int64, decided bool) {
	j.mu.RLock()
	defer j.mu.RUnlock()
	if j.state.newHosts == nil {
		return 0, false
	}
	return *j.state.newHosts, true
}
