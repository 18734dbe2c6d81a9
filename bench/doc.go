// Command bench measures what an event costs a relay: ingest (from eight hosts into
// a durable log) and replay (from that log to consumers), for Cistern alone or side by
// side with the reference relay, over the same frames.
//
//	go run ./bench ingest -n 100000 -rounds 5
//	go run ./bench replay -consumers 8 -peer ""
//	go run ./bench fanout -consumers 500
//	go run ./bench latency
//	go run ./bench slow -for 10m
//	go run ./bench scale -hosts 2800
//	go run ./bench hostile -rogues 3
//	go run ./bench soak -for 90m
//
// Frames are generated once and cached by their parameters. Hosts run in a process of
// their own (bench upstream), the relay under test in another, and consumers in this
// one, which counts WebSocket frames and decodes nothing. The figures are those of the
// relay's process alone: CPU time (user and system) from its CPU clock, peak resident
// memory from the kernel. Two relays take turns, A B A B, so that a noisy machine
// disturbs both; the ratio is taken pair by pair.
//
// Fan-out (and latency, with fewer consumers) measures what a live event costs for each
// consumer, in front of a small crowd, and how old it is when it arrives. Slow measures, for
// Cistern alone, what consumers that do not keep up cost those that do.
//
// Scale measures Cistern alone in front of thousands of hosts that it meets all at once
// (bench crowd, likewise a process of its own, with TLS): threads, memory, the time until
// all are connected, and what a health check sees from outside meanwhile, beside the same
// check of a server that does nothing (bench idle), which shows what the machine adds. In
// the end the relay's log is held against what the hosts sent.
//
// Hostile measures, without and with hosts of every kind of package rogue (bench rogues,
// one more process) in turn, how old an honest host's event is when a consumer has it.
//
// Soak is the same as scale for hours, among hosts that restart, stall, reset connections and fall
// silent at random, and ends with an error when memory, goroutines, threads or files
// grew, when an event was lost, or when an accident was not felt.
//
// What it is not: a test. Ingest, replay and fan-out count events and say nothing of whether
// they were the right ones. It needs Linux, and for the reference relay a C
// compiler and sqlite3 or python3.
//
// Invariants:
//
//   - Every wait is bounded, and ends early when the process waited for has ended.
//   - No relay outlives this process, whatever ends it.
//   - The working folder is removed at the end, or by a later run if this one was
//     killed; frames and the reference relay's binary stay in the cache.
package main
