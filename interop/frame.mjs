// Event-stream frames as bytes. A frame is two CBOR maps, header and body; here
// they are taken apart without being decoded, so that a frame can be compared
// byte for byte, spliced, or put together again in another dialect.
// Written without any of Cistern's code, on purpose: it is what Cistern is held against.

/** Reads the head of the CBOR item at `at`: [major type, argument, offset after the head]. */
function head(bytes, at) {
  const major = bytes[at] >> 5;
  const info = bytes[at] & 31;
  if (info < 24) return [major, info, at + 1];
  const size = { 24: 1, 25: 2, 26: 4, 27: 8 }[info];
  if (size === undefined) throw new Error(`CBOR head 0x${bytes[at].toString(16)} at ${at}`);
  let value = 0;
  for (let i = 0; i < size; i++) value = value * 256 + bytes[at + 1 + i];
  return [major, value, at + 1 + size];
}

/** The offset after the item at `at`. Definite lengths only: that is all the reference PDS writes. */
function skip(bytes, at) {
  const [major, value, next] = head(bytes, at);
  switch (major) {
    case 2: case 3: return next + value;
    case 4: case 5: {
      let end = next;
      for (let i = 0; i < value * (major - 3); i++) end = skip(bytes, end);
      return end;
    }
    case 6: return skip(bytes, next);
    default: return next;
  }
}

function splitMap(bytes, at) {
  const [major, count, first] = head(bytes, at);
  if (major !== 5) throw new Error(`not a map at ${at}`);
  const pairs = [];
  let next = first;
  for (let i = 0; i < count; i++) {
    const [, length, text] = head(bytes, next);
    const end = skip(bytes, text + length);
    pairs.push([bytes.subarray(text, text + length).toString('utf8'), bytes.subarray(text + length, end)]);
    next = end;
  }
  return [pairs, next];
}

/** Takes a frame apart into the [key, value bytes] pairs of its header and its body, in their order. */
export function splitFrame(bytes) {
  const [header, bodyAt] = splitMap(bytes, 0);
  const [body, end] = splitMap(bytes, bodyAt);
  if (end !== bytes.length) throw new Error(`${bytes.length - end} bytes after the frame`);
  return { header, body };
}

/** The items of the array whose bytes these are. */
export function splitArray(bytes) {
  const [, count, first] = head(bytes, 0);
  const items = [];
  let at = first;
  for (let i = 0; i < count; i++) {
    const end = skip(bytes, at);
    items.push(bytes.subarray(at, end));
    at = end;
  }
  return items;
}

/** The pairs of the map whose bytes these are. */
export const splitPairs = (bytes) => splitMap(bytes, 0)[0];

/** A CBOR head: major type, and the argument in `width` bytes (0: within the first byte). */
export function makeHead(major, value, width = shortest(value)) {
  if (width === 0) return Buffer.from([(major << 5) | value]);
  const out = Buffer.alloc(1 + width);
  out[0] = (major << 5) | (24 + Math.log2(width));
  for (let i = width, rest = value; i > 0; i--, rest = Math.floor(rest / 256)) out[i] = rest % 256;
  return out;
}

function shortest(value) {
  if (value < 24) return 0;
  if (value < 0x100) return 1;
  if (value < 0x10000) return 2;
  return value < 0x100000000 ? 4 : 8;
}

/** The bytes of a text string. */
export function makeText(text) {
  const bytes = Buffer.from(text, 'utf8');
  return Buffer.concat([makeHead(3, bytes.length), bytes]);
}

/** The bytes of a map with these pairs, in the order given. */
export function joinMap(pairs) {
  return Buffer.concat([makeHead(5, pairs.length), ...pairs.flatMap(([key, value]) => [makeText(key), value])]);
}

/** The bytes of an array of these items. */
export const joinArray = (items) => Buffer.concat([makeHead(4, items.length), ...items]);

/** The frame with another seq and not one other byte changed. */
export function spliceSeq(bytes, seq) {
  const { header, body } = splitFrame(bytes);
  const spliced = body.map(([key, value]) => (key === 'seq' ? [key, makeHead(0, seq)] : [key, value]));
  return Buffer.concat([joinMap(header), joinMap(spliced)]);
}
