package segmentlog

// Bits 20–23 of a verdict are the host's own word in an #account that was Rewritten,
// whose frame has only what is served instead. Part of the format.
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

// WithHostStatus adds Rewritten and what the host said.
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
	return v&^(hostStatusMask<<hostStatusShift) | Rewritten | Verdict(n)<<hostStatusShift
}

// HostStatus is what the host said in an #account that was Rewritten; not known where
// the record does not have it.
func (v Verdict) HostStatus() (active bool, status string, known bool) {
	n := v >> hostStatusShift & hostStatusMask
	return n == hostActive, hostStatuses[n], v.Has(Rewritten) && n != 0 && n <= hostOther
}
