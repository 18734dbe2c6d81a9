// A fact is one event of the stream as plain data, the same whichever client
// read it: CIDs as strings, blocks as the commit they carry.

import { createHash } from 'node:crypto';
import { readCar } from '@atcute/car';
import { decode, decodeFirst, fromBytes } from '@atcute/cbor';

const link = (cid) => (cid ? cid.$link : null);

/** The CID of the commit that a CAR's header names. */
export const carRoot = (blocks) => readCar(blocks).roots[0].$link;

/** The fact in one frame as it came over the wire. */
export function factOfFrame(bytes) {
  const [header, rest] = decodeFirst(bytes);
  const body = decode(rest);
  if (header.op !== 1) return { kind: 'error', error: body.error, message: body.message };
  return factOfMessage(header.t, body);
}

/** The fact in a decoded message whose CIDs and bytes are atcute's. */
export function factOfMessage(type, body) {
  const common = { did: body.did ?? body.repo, seq: body.seq, time: body.time };
  switch (type) {
    case '#commit':
      return {
        kind: 'commit', ...common, rev: body.rev, since: body.since,
        commit: link(body.commit), prevData: link(body.prevData),
        root: carRoot(fromBytes(body.blocks)),
        ops: body.ops.map((op) => ({
          action: op.action, path: op.path, cid: link(op.cid), prev: link(op.prev),
        })),
      };
    case '#sync':
      return { kind: 'sync', ...common, rev: body.rev, commit: carRoot(fromBytes(body.blocks)) };
    case '#identity':
      return { kind: 'identity', ...common, handle: body.handle };
    case '#account':
      return { kind: 'account', ...common, active: body.active, status: body.status };
    default:
      return { kind: type, ...common, name: body.name, message: body.message };
  }
}

/** A few words that say what a fact is about: "commit create app.bsky.feed.post", "account deactivated". */
export function summary(fact) {
  switch (fact.kind) {
    case 'commit':
      return ['commit', ...fact.ops.map((op) => `${op.action} ${op.path.split('/')[0]}`)].join(' ');
    case 'account':
      return `account ${fact.active ? 'active' : fact.status}`;
    default:
      return fact.kind;
  }
}

/** One line that two frames share only if they are the same bytes. */
export function fingerprint(bytes, fact) {
  const hash = createHash('sha256').update(bytes).digest('hex').slice(0, 16);
  return `${fact.did} seq=${fact.seq} ${summary(fact)} sha256=${hash}`;
}

// What each client library lets its user see of a fact. An event of which it
// shows nothing becomes null.

/** @atcute/firehose hands over the whole message. */
export const seenByAtcute = (fact) => fact;

/** @skyware/firehose hands over every field but what a create replaced and a delete's absent CID. */
export function seenBySkyware(fact) {
  if (fact.kind !== 'commit') return fact;
  return {
    ...fact,
    ops: fact.ops.map((op) => ({
      ...op,
      cid: op.action === 'delete' ? null : op.cid,
      prev: op.action === 'create' ? null : op.prev,
    })),
  };
}

/**
 * @atproto/sync hands over one event an operation, so a commit without
 * operations is invisible, and for #identity the handle that it verified
 * itself: handleOf(fact) says which one it must have found.
 */
export const seenByAtproto = (handleOf) => (fact) => {
  const { kind, did, seq, time } = fact;
  switch (kind) {
    case 'commit':
      if (fact.ops.length === 0) return null;
      return {
        kind, did, seq, time, rev: fact.rev, commit: fact.commit,
        ops: fact.ops.map(({ action, path, cid }) => ({ action, path, cid })),
      };
    case 'identity':
      return { kind, did, seq, time, handle: handleOf(fact) };
    default:
      return fact;
  }
};
