package index

import "encoding/binary"

// Host is where the reading of a host goes on.
type Host struct {
	Name   string // as the log writes it
	Epoch  uint64 // host epoch
	Cursor uint64 // its durable cursor within the epoch
}

// Raise moves on by a record's host epoch and floor.
func (h *Host) Raise(epoch, cursor uint64) {
	if epoch > h.Epoch {
		h.Epoch, h.Cursor = epoch, cursor
	} else if epoch == h.Epoch {
		h.Cursor = max(h.Cursor, cursor)
	}
}

func (h *Host) append(dst []byte) []byte {
	return binary.AppendUvarint(binary.AppendUvarint(dst, h.Epoch), h.Cursor)
}

func (h *Host) decode(value []byte) error {
	d := decoder{b: value}
	h.Epoch, h.Cursor = d.uint(), d.uint()
	return d.done()
}

// Host says how far a host has come, if it has come further than is known.
func (b *Batch) Host(h *Host) {
	b.merge(append(b.key[:0], spaceHost), h.Name, h.append(b.value[:0]))
}

// Hosts returns all hosts, by name.
func (x *Index) Hosts() ([]Host, error) {
	var hosts []Host
	err := x.each(span(spaceHost), func(key, value []byte) error {
		h := Host{Name: string(key[1:])}
		err := h.decode(value)
		hosts = append(hosts, h)
		return err
	})
	return hosts, err
}
