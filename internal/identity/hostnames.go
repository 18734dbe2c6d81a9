package identity

import "strings"

// hostNames gives hosts numbers, so that accounts that live on one share its name.
// Hosts come and go with the accounts that use them.
type hostNames struct {
	ids   map[string]hostID
	names []string
	users []uint32 // accounts on each
	free  []hostID
}

type hostID uint32

// hostBytes is what a host takes beside its name.
const hostBytes = 90

func (h *hostNames) init() { h.ids = make(map[string]hostID) }

func (h *hostNames) name(id hostID) string { return h.names[id] }

// take returns a host's number, for one account more. It adds what the host takes to
// bytes when it is new.
func (h *hostNames) take(name string, bytes *int64) hostID {
	if id, ok := h.ids[name]; ok {
		h.users[id]++
		return id
	}
	var id hostID
	if n := len(h.free); n > 0 {
		id, h.free = h.free[n-1], h.free[:n-1]
	} else {
		id = hostID(len(h.names))
		h.names, h.users = append(h.names, ""), append(h.users, 0)
	}
	name = strings.Clone(name) // it may be a piece of something large
	h.ids[name], h.names[id], h.users[id] = id, name, 1
	*bytes += hostBytes + int64(len(name))
	return id
}

// give says that an account is no longer there.
func (h *hostNames) give(id hostID, bytes *int64) {
	if h.users[id]--; h.users[id] > 0 {
		return
	}
	name := h.names[id]
	delete(h.ids, name)
	h.names[id] = ""
	h.free = append(h.free, id)
	*bytes -= hostBytes + int64(len(name))
}
