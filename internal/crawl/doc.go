// Package crawl decides which hosts are crawled, and remembers why: the operator's
// own, those that another relay lists, those that asked by
// com.atproto.sync.requestCrawl, and those that the log has events of.
//
// It reads no events; package ingest does, and is told here which hosts to read, how
// fast, and which no longer.
//
//	requestCrawl ─► name ─► ban ─► known? ─► quota ─► DNS ─► describeServer ─► dial ─► remembered
//	operator     ─► name ─► ban ─► known? ───────────► DNS ─► describeServer ─► dial ─► remembered
//	listHosts    ─► name ─► ban ─► known? ─────────────────────────────────────► dial ─► remembered
//	start: memory, log, configuration ─► ban ─────────────────────────────────► dial
//
// # Invariants
//
//   - What a stranger names is in no memory that outlives his request, and on no disk,
//     before a host has answered at that name. What is under way for strangers is
//     bounded: validations, those that wait for one, and clients that are remembered.
//   - A host that is known costs no quota and is asked nothing.
//   - Only public addresses are dialled on a stranger's word, whatever a name resolved
//     to before (identity.ControlPublic).
//   - An operator's decision is durable before it is in force, and in force before the
//     call returns: a banned host has no connection then, and gets none.
//   - Reading comes and goes (Begin); what is known and decided stays.
package crawl
