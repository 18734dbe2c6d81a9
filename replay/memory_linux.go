package replay

import "golang.org/x/sys/unix"

// preferHuge asks for huge pages; where there are none small ones do.
func preferHuge(b []byte) { _ = unix.Madvise(b, unix.MADV_HUGEPAGE) }
