// Package metrics gathers the process's Prometheus metrics and serves them, with
// pprof, on a listener of their own. Each component makes its own metrics in one
// constructor; here stand only those of the log, which is a library and reports by
// callbacks.
package metrics
