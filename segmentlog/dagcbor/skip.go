package dagcbor

// Skip walks over one whole item, checking that it is canonical.
func (r *Reader) Skip() error { return r.skip(0) }

// SkipAt does the same for an item that stands inside depth others already.
func (r *Reader) SkipAt(depth int) error { return r.skip(depth) }

func (r *Reader) skip(depth int) error {
	if depth > MaxDepth {
		return ErrDepth
	}
	b, ok := r.Peek()
	if !ok {
		return ErrTruncated
	}
	switch b >> 5 {
	case MajorBytes:
		_, err := r.Bytes()
		return err
	case MajorText:
		_, err := r.Text()
		return err
	case MajorArray:
		n, err := r.Array()
		for ; n > 0 && err == nil; n-- {
			err = r.skip(depth + 1)
		}
		return err
	case MajorMap:
		n, err := r.Map()
		var key []byte
		for ; n > 0 && err == nil; n-- {
			if key, err = r.KeyAfter(key); err == nil {
				err = r.skip(depth + 1)
			}
		}
		return err
	case MajorTag:
		_, err := r.CID()
		return err
	}
	major, arg, err := r.Head()
	if err == nil && r.DataModel && !safeInteger(major, arg) {
		return ErrInteger
	}
	return err
}

// safeInteger says whether a head is within ±MaxInteger; the argument of a
// negative integer is one less than its absolute value.
func safeInteger(major byte, arg uint64) bool {
	if major == MajorNint {
		return arg < MaxInteger
	}
	return arg <= MaxInteger
}

// Valid checks that b is exactly one canonical item.
func Valid(b []byte) error {
	r := Reader{Buf: b}
	if err := r.Skip(); err != nil {
		return err
	}
	if r.Rest() != 0 {
		return ErrTrailing
	}
	return nil
}
