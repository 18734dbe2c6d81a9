package rogue

import "encoding/binary"

// The first byte of a frame (RFC 6455, section 5.2).
const (
	opContinuation = 0x0
	opText         = 0x1
	opBinary       = 0x2
	opNothing      = 0x3 // reserved
	opPing         = 0x9
	opPong         = 0xa
	compressedBit  = 0x40 // of permessage-deflate (RFC 7692)
	final          = 0x80
)

// appendHead appends a frame's head, as a server sends it, for n bytes.
func appendHead(dst []byte, first byte, n uint64) []byte {
	switch {
	case n < 126:
		return append(dst, first, byte(n))
	case n < 1<<16:
		return binary.BigEndian.AppendUint16(append(dst, first, 126), uint16(n))
	}
	return binary.BigEndian.AppendUint64(append(dst, first, 127), n)
}

// appendFrame appends a frame.
func appendFrame(dst []byte, first byte, payload []byte) []byte {
	return append(appendHead(dst, first, uint64(len(payload))), payload...)
}

// unknownMessage is {"op": 1, "t": "#rogue"} {}: the right form and no meaning.
var unknownMessage = []byte("\xa2\x61t\x66#rogue\x62op\x01\xa0")
