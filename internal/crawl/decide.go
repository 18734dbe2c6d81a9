package crawl

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/cistern-archive/cistern/internal/operator"
)

// Block bans a host by its name and ends its connection. It need not be known.
func (c *Crawler) Block(rawHost string) error {
	return c.decide(operator.BlockHost, rawHost)
}

// Unblock takes a Block back: a host that is known is crawled again.
func (c *Crawler) Unblock(rawHost string) error {
	return c.decide(operator.UnblockHost, rawHost)
}

func (c *Crawler) decide(action operator.Action, rawHost string) error {
	a, err := parse(rawHost, true)
	if err != nil {
		return err
	}
	return c.obey(operator.Decision{Action: action, Subject: a.name})
}

// BanDomain bans a domain and all names below it, and ends the connections there.
func (c *Crawler) BanDomain(domain string) error {
	return c.decideDomain(operator.BanDomain, domain)
}

// UnbanDomain takes a BanDomain back: hosts that are known are crawled again.
func (c *Crawler) UnbanDomain(domain string) error {
	return c.decideDomain(operator.UnbanDomain, domain)
}

func (c *Crawler) decideDomain(action operator.Action, domain string) error {
	domain = strings.ToLower(strings.TrimSuffix(strings.TrimSpace(domain), "."))
	if err := operator.CheckDomain(domain); err != nil {
		return &InvalidError{err}
	}
	return c.obey(operator.Decision{Action: action, Subject: domain})
}

// obey makes a decision about bans durable, and then has those hosts read that are not
// banned, and no others.
func (c *Crawler) obey(d operator.Decision) error {
	c.obeying.Lock()
	defer c.obeying.Unlock()
	if err := c.opts.Decisions.Decide(d); err != nil {
		return err
	}
	c.log.Info("an operator decided", "action", d.Action, "subject", d.Subject)
	r := c.current()
	if r == nil {
		return nil // Begin asks for the decisions
	}
	for _, h := range r.reader.Hosts() {
		if _, banned := c.opts.Decisions.Banned(h.Name); banned && h.Read {
			r.reader.DropHost(h.Name, errBanned)
		}
	}
	return c.readAll(r)
}

// Limits of a host; nil leaves one as it is.
type Limits struct {
	Accounts, PerSecond, PerHour, PerDay *int64
}

// ChangeLimits sets limits of a host that is known.
func (c *Crawler) ChangeLimits(rawHost string, l Limits) error {
	a, err := parse(rawHost, true)
	if err != nil {
		return err
	}
	c.mu.Lock()
	known := c.known.m[a.name] != nil
	c.mu.Unlock()
	if !known {
		return ErrUnknown
	}
	was := c.opts.Decisions.Limits(a.name)
	events := operator.Decision{
		Action: operator.LimitEvents, Subject: a.name,
		PerSecond: or(l.PerSecond, was.PerSecond), PerHour: or(l.PerHour, was.PerHour), PerDay: or(l.PerDay, was.PerDay),
	}
	accounts := operator.Decision{Action: operator.LimitAccounts, Subject: a.name, Limit: or(l.Accounts, was.Accounts)}
	for _, d := range []operator.Decision{accounts, events} {
		if err := d.Check(); err != nil {
			return &InvalidError{err}
		}
	}
	for _, d := range []operator.Decision{accounts, events} {
		if err := c.opts.Decisions.Decide(d); err != nil {
			return err
		}
	}
	if r := c.current(); r != nil {
		r.reader.NewRates(a.name)
	}
	return nil
}

func or(a, b *int64) *int64 {
	if a != nil {
		return a
	}
	return b
}

// NewHostsPerDay is how many hosts may come in a day by Request.
func (c *Crawler) NewHostsPerDay() int64 { return c.newHostsPerDay() }

func (c *Crawler) newHostsPerDay() int64 {
	if n, decided := c.opts.Decisions.NewHostsPerDay(); decided {
		return n
	}
	return c.opts.NewHostsPerDay
}

// SetNewHostsPerDay changes how many hosts may come in a day.
func (c *Crawler) SetNewHostsPerDay(n int64) error {
	d := operator.Decision{Action: operator.LimitNewHosts, Subject: operator.Everyone, Limit: &n}
	if err := d.Check(); err != nil {
		return &InvalidError{err}
	}
	return c.opts.Decisions.Decide(d)
}

// DomainBans lists the domains that are banned, sorted.
func (c *Crawler) DomainBans() []string { return c.opts.Decisions.DomainBans() }

// Kill ends the connection to a host, which is made again in time.
func (c *Crawler) Kill(rawHost string) error {
	a, err := parse(rawHost, true)
	if err != nil {
		return err
	}
	r := c.current()
	if r == nil {
		return ErrNotReading
	}
	if !r.reader.KickHost(a.name, errKilled) {
		return fmt.Errorf("%s: %w", a.name, ErrNoConnection)
	}
	return nil
}

// clip cuts what a host had a say in to what is kept of it.
func clip(s string) string {
	const most = 200
	s = strings.ToValidUTF8(s, "?")
	if len(s) <= most {
		return s
	}
	s = s[:most]
	for !utf8.ValidString(s) {
		s = s[:len(s)-1]
	}
	return s
}
