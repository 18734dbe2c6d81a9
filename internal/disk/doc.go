// Package disk keeps a relay within its disk budget: it measures what stands in the
// relay's folders, evicts the oldest segments that the archive has, and where nothing is
// left to evict it holds the reading of hosts back until there is room. Serving goes on.
//
//	used        0 ───────────── 90 % ────────── 95 % ── budget
//	                            │ evict down     │ nothing to evict: reading pauses,
//	                            │ to here        │ and resumes below 93 %
//
// It never evicts what the archive is not known to hold (segmentlog.Log.Evict), nor the
// newest segment, by which a start knows that the directory is not an old backup. A file
// that a folder archive shares (a hard link) is counted once, and evicting it would free
// nothing, so it stays.
package disk
