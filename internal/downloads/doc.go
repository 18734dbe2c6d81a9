// Package downloads serves the archive over HTTP to people and to `cistern archive pull`:
//
//	GET /archive/                       a page that says what there is
//	GET /archive/stream.json            the log's identity and epochs
//	GET /archive/catalog?from=&to=      JSON Lines, a segment each; days, both included
//	GET /archive/segments/<name>        the file; Range, HEAD, ETag, If-None-Match
//	GET /archive/suppressed             JSON Lines: accounts whose frames must not be passed on now
//
// Only what the archive has confirmed is listed and served: a name never changes its
// bytes, so an answer may be kept for ever. It decides nothing and writes nothing.
package downloads
