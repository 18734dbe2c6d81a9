// Package xrpc is the public HTTP side of the relay: the routes, the headers that
// every answer carries, and the XRPC form of errors. What the routes serve comes
// from the packages that own it; the event stream is package replay's.
package xrpc
