// Package netsim is a simulated AT Protocol network: a PLC directory and any
// number of hosts, each with accounts, that emit really signed sync 1.1 events over
// real HTTP and WebSocket listeners. Tests, demos and benchmarks put a relay in
// front of it and compare what came out with what went in.
//
//	n, err := netsim.New(netsim.Options{Seed: 1, Hosts: 8, Accounts: 100})
//	if err != nil { … }
//	defer n.Close()
//	relay.Start(n.PLCURL(), n.HostURLs())
//	for range 1000 {
//		n.Step() // one event of the usual mix, on some host
//	}
//	n.Host(0).Lie("signature-wrong-key") // and one that must be dropped
//	c := netsim.NewComparison(n.Ledger())
//	for frame := range relayOutput {
//		c.Add(frame)
//	}
//	if err := c.Report().Err(); err != nil { … } // missing, doubled, altered, …
//
// Network.Run emits at a rate; Host.Post, Speak, Lie, Leave, ComeBack, EmitFrame and
// Network.CreateAccount, Migrate, RotateKey, ChangeHandle emit by hand; Host.Stop, Start,
// Stall, Silence, Disconnect, Abort, Reset and Trim, and PLC.SetFault, are the accidents;
// Network.Accidents makes them happen at random. Host.WaitSent
// waits until a host has sent everything. Generate and Load make frames ahead of time, for
// benchmarks that the simulator must not slow down.
//
// An event is honest, or honest in a dialect (what other implementations than the
// reference one write, and a relay must accept), or a lie (what a relay must drop,
// ignore or close for, with the row of docs/verification.md). Each is one entry of the
// ledger, with the frame that a relay is expected to serve, and with how often it
// was really written to a socket, so that a test can prove that each fault fired.
//
// What it is not: a PDS. It has no authentication, no blobs and no getRepo; its PLC
// audit log is not signed; it keeps the shape of repositories, not their contents.
//
// Invariants:
//
//   - The same seed and the same calls give the same accounts, keys, records,
//     order and frames, byte for byte (signatures are RFC 6979; time is virtual
//     unless Options.WallClock is set). Ports are not part of that.
//   - A lie never changes an account's state: the next honest event is valid.
//   - A cursor of N yields every kept event with a number above N, in order, and
//     then the live ones; nothing is dropped for a slow reader.
//   - Close returns when every goroutine has ended.
package netsim
