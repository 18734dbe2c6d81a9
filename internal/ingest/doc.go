// Package ingest reads upstream hosts and brings what may enter into the log: one
// goroutine a host reads, checks and appends; what must wait for an identity waits in
// a queue of its account, out of the way of the others. A relay's events are decided in
// the relay's order instead, by a goroutine of their own.
//
// It decides by docs/verification.md: the rows that need a connection, an identity,
// an account's status or a clock are here (T1, T2, T4, T5, T8 to T17, the refresh of
// T26); the form of a frame is package frame's, the proofs are package verify's. It
// stores nothing but the log's entries: accounts, marks, host epochs and cursors are
// derived from the log by others, and given to it.
//
// Invariants:
//   - Events of one account from one host are decided in the order in which they came;
//     none is decided while an earlier one of the same account and host is undecided.
//   - An account is held from reading its state until its event is in the log.
//   - Where a relay's numbers are kept, nothing is appended of a connection before the end
//     of the log came again, the same, or the relay no longer has it.
//   - A host's floor is never above an event that is neither in the log nor decided
//     against.
//   - Nobody who holds an account, and no reader of frames, waits for the network's
//     answer about an account.
//   - A bounded number of dials is under way and they begin at a bounded pace, whatever
//     number of hosts is added, comes back or is asked for.
//   - A host above its rates is read slowly; nothing that it sends is dropped for it.
//   - What is in memory for a host is bounded in events, and for all hosts together in
//     bytes, of which each has a fair share; a host that has no room is not read, and
//     nobody else notices.
//   - No bytes from outside end anything but their own connection.
package ingest
