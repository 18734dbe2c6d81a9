// Three firehose clients that other people wrote, each wrapped so that it
// collects facts. They are used as their documentation says, with the cursor
// kept by the wrapper the way an application keeps it.

import { ComAtprotoSyncSubscribeRepos } from '@atcute/atproto';
import { FirehoseSubscription } from '@atcute/firehose';
import { fromBytes } from '@atcute/cbor';
import { Firehose as StrictFirehose } from '@atproto/sync';
import { Firehose as SkywareFirehose } from '@skyware/firehose';
import WebSocket from 'ws';
import { carRoot, factOfMessage, seenByAtcute, seenByAtproto, seenBySkyware } from './facts.mjs';
import { changed } from './wait.mjs';

class Client {
  facts = [];
  errors = [];

  constructor(name, seen) {
    this.name = name;
    this.seen = seen;
  }

  keep(fact) {
    this.facts.push(fact);
    this.cursor = fact.seq;
    changed();
  }

  fail(err) {
    this.errors.push(err);
    changed();
  }

  /** True once the client has handed over everything that it shows of these facts. */
  has(facts) {
    return weight(this.facts) >= weight(facts.map(this.seen).filter(Boolean));
  }
}

// Operations count, since @atproto/sync hands a commit over in so many parts.
const weight = (facts) => facts.reduce((sum, fact) => sum + (fact.ops?.length || 1), 0);

/** @atproto/sync: checks proofs and signatures of every commit, and handles both ways. */
export class AtprotoClient extends Client {
  /** `ids`: the IdResolver that it checks with. `handleOf`: see seenByAtproto. */
  constructor(service, cursor, ids, handleOf) {
    super('@atproto/sync', seenByAtproto(handleOf));
    this.cursor = cursor;
    this.firehose = new StrictFirehose({
      service: service.replace(/^http/, 'ws'),
      idResolver: ids,
      getCursor: () => this.cursor,
      handleEvent: (event) => this.#take(event),
      onError: (err) => this.fail(err),
      maxReconnectSeconds: 1,
      subscriptionReconnectDelay: 100,
    });
    this.firehose.start();
  }

  #take(event) {
    const { event: kind, did, seq, time } = event;
    switch (kind) {
      case 'identity':
        return this.keep({ kind, did, seq, time, handle: event.handle });
      case 'account':
        return this.keep({ kind, did, seq, time, active: event.active, status: event.status });
      case 'sync':
        return this.keep({ kind, did, seq, time, rev: event.rev, commit: String(event.cid) });
      default:
        return this.#takeOp(event);
    }
  }

  // One event an operation: those of one seq belong to one commit.
  #takeOp(event) {
    const op = {
      action: event.event,
      path: `${event.collection}/${event.rkey}`,
      cid: event.cid ? String(event.cid) : null,
    };
    const last = this.facts.at(-1);
    if (last?.seq === event.seq) {
      last.ops.push(op);
      changed();
      return;
    }
    this.keep({
      kind: 'commit', did: event.did, seq: event.seq, time: event.time,
      rev: event.rev, commit: String(event.commit), ops: [op],
    });
  }

  async close() {
    await this.firehose.destroy();
  }
}

/** @atcute/firehose: validates every message against the lexicon; reconnects by itself. */
export class AtcuteClient extends Client {
  constructor(service, cursor) {
    super('@atcute/firehose', seenByAtcute);
    this.cursor = cursor;
    this.subscription = new FirehoseSubscription({
      service: service.replace(/^http/, 'ws'),
      nsid: ComAtprotoSyncSubscribeRepos.mainSchema,
      params: () => ({ cursor: this.cursor }),
      onError: (err) => this.fail(err),
      ws: { WebSocket, minReconnectionDelay: 100, maxReconnectionDelay: 1000 },
    });
    this.messages = this.subscription[Symbol.asyncIterator]();
    this.#read().catch((err) => this.fail(err));
  }

  async #read() {
    for await (const message of { [Symbol.asyncIterator]: () => this.messages }) {
      this.keep(factOfMessage(`#${message.$type.split('#')[1]}`, message));
    }
  }

  async close() {
    // Its iterator leaves a pending read pending, so there is no end of #read to wait for.
    await this.messages.return();
  }
}

/**
 * @skyware/firehose: an application that wants to go on after a close makes a
 * new one with the cursor of the old. It decodes messages concurrently and may
 * hand them over out of order, so what it gave is put in the order of seq.
 */
export class SkywareClient extends Client {
  #done = false;

  constructor(service, cursor) {
    super('@skyware/firehose', seenBySkyware);
    this.cursor = cursor;
    this.service = service;
    this.#open();
  }

  #open() {
    const firehose = new SkywareFirehose({
      relay: this.service.replace(/^http/, 'ws'),
      // Its own test for a cursor takes a number 0 for none.
      cursor: String(this.cursor),
      autoReconnect: false,
      ws: WebSocket,
    });
    this.firehose = firehose;
    for (const type of ['commit', 'sync', 'identity', 'account', 'info', 'unknown']) {
      firehose.on(type, (message) => this.#take(type, message));
    }
    firehose.on('error', ({ error }) => this.fail(error));
    firehose.on('websocketError', () => {});
    firehose.on('close', () => {
      if (!this.#done) this.retry = setTimeout(() => this.#open(), 100);
    });
    firehose.start();
  }

  #take(type, message) {
    const { did, repo, seq, time, rev } = message;
    const common = { kind: type, did: did ?? repo, seq, time };
    switch (type) {
      case 'commit':
        this.#insert({
          ...common, rev, since: message.since,
          commit: message.commit, prevData: message.prevData ?? null,
          root: carRoot(message.blocks),
          ops: message.ops.map((op) => ({
            action: op.action, path: op.path, cid: op.cid ?? null, prev: op.prev ?? null,
          })),
        });
        break;
      case 'sync':
        this.#insert({ ...common, rev, commit: carRoot(message.blocks) });
        break;
      default:
        this.#insert(factOfMessage(`#${type}`, message));
    }
  }

  #insert(fact) {
    this.keep(fact);
    this.facts.sort((a, b) => a.seq - b.seq);
    this.cursor = this.facts.at(-1).seq;
  }

  async close() {
    this.#done = true;
    clearTimeout(this.retry);
    this.firehose.close();
  }
}
