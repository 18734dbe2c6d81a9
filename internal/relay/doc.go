// Package relay puts the parts together and runs them: the log, derived state,
// ingest, replay and the listeners, started in the order of their needs and
// stopped in the reverse one.
//
//	hosts ─► ingest ─► segmentlog ─► ring ─► replay ─► consumers
//
// It holds no logic of its own beyond that order.
package relay
