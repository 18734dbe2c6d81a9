// Command netsim runs a simulated AT Protocol network: a PLC directory and hosts that
// emit signed events.
//
//	netsim serve --hosts 8 --accounts 100 --rate 500 --ledger ledger.jsonl
//	netsim generate --events 200000 --hosts 8 --out frames.netsim
//	netsim serve --from frames.netsim
//	netsim lies        # what it can lie about, with the row of the verification table
//	netsim dialects    # what it can write otherwise than the reference PDS
//
// serve prints the flags to give to cistern serve. It runs until it is interrupted,
// and then writes the ledger. It is a thin shell over package internal/netsim, and has
// no logic of its own.
package main
