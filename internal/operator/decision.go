package operator

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"
)

// Action says what was decided.
type Action string

// The actions. Part of the format.
const (
	Takedown        Action = "takedown"
	ReverseTakedown Action = "reverse-takedown"
	BlockHost       Action = "block-host"
	UnblockHost     Action = "unblock-host"
	BanDomain       Action = "ban-domain"
	UnbanDomain     Action = "unban-domain"
	LimitAccounts   Action = "limit-accounts"
	LimitEvents     Action = "limit-events"
	LimitNewHosts   Action = "limit-new-hosts"
)

// Everyone is the subject of what concerns all hosts.
const Everyone = "*"

// maxLine bounds a line of the file, in bytes.
const maxLine = 16 << 10

// maxLimit bounds every limit: what is higher is no limit.
const maxLimit = 1 << 40

// Decision is one line of the file. A limit that is nil goes back to the default.
type Decision struct {
	Time    time.Time `json:"time"` // Journal.Decide sets it
	Action  Action    `json:"action"`
	Subject string    `json:"subject"`

	Limit     *int64 `json:"limit,omitempty"`
	PerSecond *int64 `json:"per_second,omitempty"`
	PerHour   *int64 `json:"per_hour,omitempty"`
	PerDay    *int64 `json:"per_day,omitempty"`

	Note string `json:"note,omitempty"`
}

// known says whether this version knows what the action means.
func (a Action) known() bool {
	switch a {
	case Takedown, ReverseTakedown, BlockHost, UnblockHost, BanDomain, UnbanDomain, LimitAccounts, LimitEvents, LimitNewHosts:
		return true
	}
	return false
}

// Check says what is wrong with a decision, nil when it can be taken.
func (d *Decision) Check() error {
	var err error
	switch d.Action {
	case Takedown, ReverseTakedown:
		_, err = syntax.ParseDID(d.Subject)
	case BlockHost, UnblockHost:
		err = checkHost(d.Subject)
	case BanDomain, UnbanDomain:
		err = CheckDomain(d.Subject)
	// A host that may have or send nothing is one to block.
	case LimitAccounts:
		err = errors.Join(checkHost(d.Subject), atLeast(1, d.Limit))
	case LimitEvents:
		err = errors.Join(checkHost(d.Subject), atLeast(1, d.PerSecond), atLeast(1, d.PerHour), atLeast(1, d.PerDay))
	case LimitNewHosts:
		err = atLeast(0, d.Limit)
		if d.Subject != Everyone {
			err = fmt.Errorf("subject %q is not %q", d.Subject, Everyone)
		}
	default:
		err = fmt.Errorf("no action %q", d.Action)
	}
	return err
}

func atLeast(least int64, limit *int64) error {
	if limit != nil && (*limit < least || *limit > maxLimit) {
		return fmt.Errorf("limit %d is not between %d and %d", *limit, least, int64(maxLimit))
	}
	return nil
}

// maxHostname bounds a hostname with its port, in bytes (RFC 1035, section 2.3.4).
const maxHostname = 253 + len(":65535")

// checkHost takes what may stand in the log as a host.
func checkHost(name string) error {
	if name == "" || len(name) > maxHostname || name != strings.ToLower(name) ||
		strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r >= 0x7f || strings.ContainsRune(`/\@?#*"`, r) }) {
		return fmt.Errorf("%q is not a hostname in lower case, with or without a port", name)
	}
	return nil
}

// CheckDomain takes DNS names of at least two labels, in lower case: nobody means to ban
// all of com.
func CheckDomain(name string) error {
	if h, err := syntax.ParseHandle(name); err != nil || h.Normalize().String() != name {
		return fmt.Errorf("%q is not a domain in lower case, with a dot", name)
	}
	return nil
}

// parse reads a line, without its newline. Of a line whose action is not known, only
// that is read.
func parse(line []byte) (d Decision, known bool, err error) {
	if len(line) > maxLine {
		return d, false, fmt.Errorf("a line of %d bytes, at most %d are allowed", len(line), maxLine)
	}
	var what struct {
		Time   time.Time `json:"time"`
		Action Action    `json:"action"`
	}
	if err := json.Unmarshal(line, &what); err != nil {
		return d, false, err
	}
	if what.Time.IsZero() || what.Action == "" {
		return d, false, errors.New("not an object with a time and an action")
	}
	if !what.Action.known() {
		return Decision{Time: what.Time, Action: what.Action}, false, nil
	}
	if err := json.Unmarshal(line, &d); err != nil {
		return d, false, err
	}
	return d, true, d.Check()
}

// appendLine encodes a decision with its newline.
func appendLine(dst []byte, d *Decision) ([]byte, error) {
	b, err := json.Marshal(d)
	if err != nil {
		return dst, err
	}
	if len(b) > maxLine {
		return dst, fmt.Errorf("the decision has %d bytes, at most %d are allowed", len(b), maxLine)
	}
	return append(append(dst, b...), '\n'), nil
}
