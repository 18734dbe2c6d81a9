// Package operator keeps what a relay's operators decided: who is taken down, which
// hosts and domains are not crawled, and whose limits are other than the default. It
// is the one state of a relay that no log and no network can give back, so a decision
// takes effect only after it is durable (Journal.Decide), and a start does not go on
// without one that it cannot read.
//
// It decides nothing and enforces nothing: others ask it.
//
// # The file
//
// operator.jsonl in the data directory, UTF-8, one decision a line, oldest first,
// written once and never changed:
//
//	{"time":"2026-11-05T10:20:30.123456Z","action":"block-host","subject":"pds.example.com","note":"spam"}
//
//	action             subject    also                               undone by
//	takedown           DID                                           reverse-takedown
//	block-host         hostname                                      unblock-host
//	ban-domain         domain                                        unban-domain
//	limit-accounts     hostname   limit: active accounts             the same without a limit
//	limit-events       hostname   per_second, per_hour, per_day:     the same without any
//	                              events, each may be absent
//	limit-new-hosts    *          limit: hosts a day by requestCrawl the same without a limit
//
// A hostname is as the log writes it, with the port when that is not the default. Any
// decision may carry a note. A domain stands for itself and all names below it.
//
// Lines that a later version wrote, with an action that this one does not know, are
// kept and warned about. A line is at most 16 KiB.
//
// # A crash
//
// A decision is one write at the end of the file and one fsync, and only one is under
// way at a time. So a power cut leaves at most a damaged last line, which has no
// newline or has zeros where data did not arrive: it was not acknowledged, and the
// start cuts it. Any other damage stops the start (CorruptError).
//
// A start, and a decision after a failed write or fsync, first copies the lines that
// count to a new file, which takes the name: a sync of a file that lost a page may
// well succeed.
package operator
