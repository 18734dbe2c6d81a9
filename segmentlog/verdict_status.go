package segmentlog

// Bits 20–23 of a verdict are the host's own word on an account: of an #account that
// was Rewritten, whose frame has only what is served instead, and of an event of our
// own that lifts a status which we had set. Part of the format.
const (
	hostStatusShift = 20
	hostStatusMask  = 15
	hostActive      = 1
	hostOther       = 8 // inactive, with none of the statuses below
)

// hostStatuses are those of the account page by their number.
var hostStatuses = [hostStatusMask + 1]string{
	2: "takendown", 3: "suspended", 4: "deleted", 5: "deactivated", 6: "desynchronized", 7: "throttled",
}

// WithHostStatus adds what the host said.
func (v Verdict) WithHostStatus(active bool, status string) Verdict {
	n := hostOther
	switch {
	case active:
		n = hostActive
	case status != "":
		for i, s := range hostStatuses {
			if s == status {
				n = i
			}
		}
	}
	return v&^(hostStatusMask<<hostStatusShift) | Verdict(n)<<hostStatusShift
}

// HostStatus is what WithHostStatus added, if anything.
func (v Verdict) HostStatus() (active bool, status string, known bool) {
	n := v >> hostStatusShift & hostStatusMask
	return n == hostActive, hostStatuses[n], n != 0 && n <= hostOther
}
