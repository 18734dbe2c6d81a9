#!/usr/bin/env python3
"""Reads a sealed segment as docs/format/segment.md describes it: checks every block,
prints a line of JSON for each record, and compares the tree's root with the footer.

    read_segment.py FILE [AFTER_SEQ]    (needs only zstandard and cbor2)
"""
import hashlib, io, json, struct, sys
import cbor2, zstandard

def sha256(*parts):
    return hashlib.sha256(b"".join(parts)).digest()

def read_footer(f):
    f.seek(-17, io.SEEK_END)  # the last entry of the seek table, and its end
    footer_wire, _, frames, flags, magic = struct.unpack("<IIIBI", f.read(17))
    assert (flags, magic) == (0, 0x8F92EAB1), "does not end with a seek table"
    f.seek(-(8 + 8 * frames + 9 + footer_wire), io.SEEK_END)
    magic, size = struct.unpack("<II", f.read(8))
    payload = f.read(footer_wire - 8)
    assert (magic, size) == (0x184D2A50, len(payload)), "no footer where the table says"
    assert sha256(payload[:-34]) == payload[-32:], "footer does not match its SHA-256"
    return cbor2.loads(payload[:-34])

def read_frame(f, offset, wire, raw, digest):
    f.seek(offset)
    data = f.read(wire)
    assert sha256(data) == digest, f"block at {offset} does not match its SHA-256"
    return zstandard.ZstdDecompressor().decompress(data, max_output_size=raw)

def leaf(rec):
    return sha256(b"\0", cbor2.dumps(rec[:9] + [rec[10] or sha256(rec[9])]))

def merge(stack):  # stack: (leaves, hash) of perfect subtrees, left to right
    (n, left), (m, right) = stack[-2:]
    stack[-2:] = [(n + m, sha256(b"\1", left, right))]

def main(path, after=0):
    with open(path, "rb") as f:
        footer = read_footer(f)
        header = cbor2.loads(read_frame(f, *footer[13]))
        assert header[:2] == ["cistern", 1], "not a segment of version 1"
        sizes = [1 << i for i in range(63, -1, -1) if footer[9] >> i & 1]
        tree = list(zip(sizes, footer[10]))
        for block in footer[14]:
            stream = io.BytesIO(read_frame(f, *block[:4]))
            for _ in range(block[4]):
                rec = cbor2.load(stream)
                tree.append((1, leaf(rec)))
                while len(tree) > 1 and tree[-2][0] == tree[-1][0]:
                    merge(tree)
                if rec[0] > after:
                    names = "seq witnessed did host host_epoch host_seq host_floor verdict".split()
                    print(json.dumps({**dict(zip(names, rec)), "frame": len(rec[9]), "frame_sha256": (rec[10] or sha256(rec[9])).hex()}))
        while len(tree) > 1:
            merge(tree)
        assert tree[0][1] == footer[12], "the records do not give the footer's root"

if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 0)
