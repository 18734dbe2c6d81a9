// Package index keeps what can be derived from a log in a Pebble store, so that a
// start need not read the whole log again: accounts, the hosts' cursors, which
// account has records of which collection, where in time a seq stands, and where
// segments and their blocks begin.
//
// It is a cache, and a memory of which hosts are crawled and why (Crawl). Deleting its
// directory loses nothing but the time to read the log, and the hosts that never sent
// an event. It is written without a write-ahead log and without sync: after
// an unclean stop the newest batches are missing, whole and from the end, and the
// watermark says from where to read the log again.
//
// # Keys
//
// Numbers in keys are 8 bytes, big-endian, so that keys sort as numbers do. Numbers
// in values are unsigned varints; a string is its length and its bytes. The layout
// is numbered (schemaVersion): an index of another number is discarded, not
// converted.
//
//	space        key                                value
//	meta         'm' name                           schema, stream, applied          meta.go
//	accounts     'a' DID                            Account, merged                  account_codec.go
//	hosts        'h' hostname                       epoch · cursor, merged           hosts.go
//	crawls       'k' hostname                       flags (1 byte: 1 plain) ·        crawls.go
//	                                                source (1 byte) · requested,
//	                                                connected (Unix s, 0 none) ·
//	                                                last error (string)
//	collections  'c' collection 0x00 DID            empty                            collections.go
//	times        't' Unix second (8)                first seq of that second         times.go
//	segments     's' first seq (8)                  Segment                          segments.go
//	blocks       'b' first seq (8)                  its segment's name · Block       blocks.go
//
// An account's value:
//
//	fields (1 byte: 1 upstream, 2 local, 4 host, 8 repo)
//	upstream, local, if set:  0x00 active | 0x01 inactive, reason (string)
//	host, if set:             string
//	repo, if set:             rev (13) · data CID (36) · commit CID (36)
//	marks:                    count, then each: host (string, "" for the field host)
//	                          · log seq · host epoch · host seq; heard last first
//
// Accounts and hosts are written with Pebble's Merge and never read before they are
// written: an operand says what a run of records changes, a field that is set
// overrides an older one, and of a host's marks the newest stays.
//
// # Invariants
//
//   - Accounts, hosts, collections and times are a function of a prefix of the log,
//     which the watermark names: every batch carries its watermark (Batch.Commit).
//     Segments and blocks are a memory of files, crawls one of what was asked of the
//     relay; they can be empty or behind.
//   - Merging is associative: however Pebble groups operands, the value is the one
//     that applying record after record gives (Account).
//   - An index whose schema or stream differs, that is ahead of the log, or that
//     Pebble finds damaged is emptied when it is opened, with a line in the log that
//     says why (Open, Index.Discarded). It never stops a start, and what goes wrong
//     with it later never ends the process (Index.Err).
//
// How the store is kept from doing harm is in package disposable.
//
// The package knows no frames: what a record changes is its caller's to say. It
// writes nothing by itself and has no goroutine but Pebble's.
package index
