// Package fetch reads the objects of a bucket in parts, for many readers at once:
//
//	reader ──► Object.ReadAt ──► part on disk? ──► copy
//	                              │ no
//	                              ▼
//	              one request for all who want the part ──► rate ──► bucket
//	                              │
//	                              └► read ahead: the parts after it, side by side
//
// An object never changes (bucket.Bucket.Create), so a part is as good as the object.
// Parts are files in a folder under a byte budget; the least recently used go first, and
// none while it is read. The cache proves nothing: who reads checks what it got, and
// calls Forget to read once more.
//
// Invariants:
//   - For one part at most one request is under way.
//   - The parts on disk are at most CacheBytes and those that are being read; a part that
//     cannot be kept is served from memory.
//   - An error is returned to those who wait for the part, and never kept.
package fetch
