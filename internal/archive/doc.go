// Package archive is what an operator or a researcher does with sealed segments
// without a running relay: list, inspect, read, verify and prove. A Source is
// segments in order, from files, directories and http(s) URLs alike.
//
// It is not the log: it never writes a segment, and it knows no hot file and no
// index. The format and its checks are those of package segmentlog; this package
// adds what spans several files (generations, continuity, one tree) and what looks
// into frames (signatures, JSON).
//
// Invariants: files are opened when they are needed and closed after; nothing of a
// file is trusted that its checksums do not cover; a file that changes while it is
// read over HTTP is an error; no input makes it panic.
package archive
