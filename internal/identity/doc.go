// Package identity resolves DIDs to what a relay needs of a DID document: the
// account's signing key, parsed once, and the PDS host that speaks for it (the did
// page of the AT Protocol specification; did:plc and did:web).
//
// It does not verify handles and takes no decision about events: it says what a
// document says, how old that is, and whether the answer is final. What it keeps on
// disk (store.go) is a cache: deleting it costs nothing but requests.
//
// Invariants: a document is fresh for 24 hours and usable for 7 days more while its
// resolver fails; lookups of one DID share one request, and a refresh never returns
// an answer to a request that was sent before the refresh was asked for; did:web
// reaches public addresses only, checked at the dial; every answer is bounded in
// time and bytes; the cache is bounded in bytes.
package identity
