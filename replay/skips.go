package replay

import "slices"

// skips is which events of a run are suppressed by one version of the set.
type skips struct {
	version uint64
	through int     // events of the run that were looked at
	skip    []int32 // those to leave out, in order
}

// skipped returns which of the events [from, to) are suppressed now. The list is kept
// beside the run, for everyone who sends it, until the set changes.
func (r *run) skipped(s *Suppressed, from, to int) []int32 {
	if s == nil {
		return nil
	}
	set := s.now.Load()
	list := r.skips.Load()
	if list == nil || list.version != set.version || list.through < to {
		list = r.look(set, list)
		r.skips.Store(list)
	}
	if len(list.skip) == 0 {
		return nil
	}
	i, _ := slices.BinarySearch(list.skip, int32(from))
	j, _ := slices.BinarySearch(list.skip, int32(to))
	return list.skip[i:j]
}

// look makes the list, going on from one of the same version.
func (r *run) look(set *keySet, have *skips) *skips {
	list := &skips{version: set.version, through: r.published()}
	begin := 0
	if have != nil && have.version == set.version {
		begin, list.skip = have.through, slices.Clip(have.skip)
	}
	for i := begin; i < list.through; i++ {
		if key := r.events[i].key; key != 0 && set.has(key) {
			list.skip = append(list.skip, int32(i))
		}
	}
	return list
}
