// Package dagcbor reads DAG-CBOR in place: it walks the bytes of an item without
// allocating and hands out sub-slices of the input. It also appends items.
//
// It knows the strict form only (the data-model page of the AT Protocol
// specification): minimal heads, definite lengths, text map keys sorted by
// length and then by bytes, no duplicates, no floats, tag 42 alone. It does not
// know any schema, and it does not repair: package frame has a lenient reader for
// what is readable and not canonical. With DataModel set a Reader holds integers
// and links to what every client of the network can decode.
//
// Invariants: a Reader never reads outside Buf, never allocates from a length it
// has not checked against the bytes that are left, and bounds its own recursion.
package dagcbor
