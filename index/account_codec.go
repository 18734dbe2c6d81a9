package index

import "encoding/binary"

// append appends the value of a; see the package comment for its layout.
func (a *Account) append(dst []byte) []byte {
	dst = append(dst, byte(a.Set))
	if a.Set.Has(Upstream) {
		dst = a.Upstream.append(dst)
	}
	if a.Set.Has(Local) {
		dst = a.Local.append(dst)
	}
	if a.Set.Has(HostField) {
		dst = appendString(dst, a.Host)
	}
	if a.Set.Has(RepoField) {
		dst = append(dst, a.Repo.Rev[:]...)
		dst = append(dst, a.Repo.Data[:]...)
		dst = append(dst, a.Repo.Commit[:]...)
	}
	dst = binary.AppendUvarint(dst, uint64(len(a.Marks)))
	for i := range a.Marks {
		m := &a.Marks[i]
		if a.Set.Has(HostField) && m.Host == a.Host {
			dst = append(dst, 0)
		} else {
			dst = appendString(dst, m.Host)
		}
		dst = binary.AppendUvarint(dst, m.At)
		dst = binary.AppendUvarint(dst, m.Epoch)
		dst = binary.AppendUvarint(dst, m.Seq)
	}
	return dst
}

func (s Status) append(dst []byte) []byte {
	if !s.Inactive {
		return append(dst, 0)
	}
	return appendString(append(dst, 1), s.Reason)
}

// decode reads a value into a, which keeps nothing of it.
func (a *Account) decode(value []byte, in names) error {
	a.reset()
	d := decoder{b: value}
	if a.Set = Fields(d.byte()); a.Set&^allFields != 0 {
		d.fail()
	}
	if a.Set.Has(Upstream) {
		a.Upstream = d.status(in)
	}
	if a.Set.Has(Local) {
		a.Local = d.status(in)
	}
	if a.Set.Has(HostField) {
		a.Host = in.of(d.bytes())
	}
	if a.Set.Has(RepoField) {
		copy(a.Repo.Rev[:], d.fixed(RevSize))
		copy(a.Repo.Data[:], d.fixed(CIDSize))
		copy(a.Repo.Commit[:], d.fixed(CIDSize))
	}
	for n := d.uint(); n > 0 && d.err == nil; n-- {
		a.Marks = append(a.Marks, d.mark(a, in))
	}
	return d.done()
}

func (d *decoder) status(in names) Status {
	switch d.byte() {
	case 0:
		return Status{}
	case 1:
		return Status{Inactive: true, Reason: in.of(d.bytes())}
	}
	d.fail()
	return Status{}
}

func (d *decoder) mark(a *Account, in names) (m Mark) {
	if host := d.bytes(); len(host) == 0 {
		m.Host = a.Host
	} else {
		m.Host = in.of(host)
	}
	m.At, m.Epoch, m.Seq = d.uint(), d.uint(), d.uint()
	return m
}
