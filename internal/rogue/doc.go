// Package rogue plays hosts that break the rules of the wire: of TCP, of HTTP and of
// WebSocket, below the frames that package netsim lies in. A Host is of one Kind and
// plays it on bare connections, so that it works over TCP and over net.Pipe, where
// every write is one read's and time may be virtual. It counts how often it did its
// thing, so that a test can prove that a fault was there.
//
// It writes bytes by hand: no library would send them.
//
// Invariants:
//   - Play returns soon after the other side is gone, and closes its connection.
//   - What is random is drawn from the seed.
//   - A kind that is known only after the upgrade answers any request but
//     subscribeRepos as an honest host would, so that it passes for one.
package rogue
