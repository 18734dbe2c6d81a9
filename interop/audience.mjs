// Everyone who reads Cistern in one go: a plain reader that keeps the bytes,
// and the three client libraries, all from the same cursor.

import { AtcuteClient, AtprotoClient, SkywareClient } from './clients.mjs';
import { FrameReader } from './reader.mjs';
import { until } from './wait.mjs';

export class Audience {
  /**
   * `ids` is the resolver of @atproto/sync, `handleOf(fact)` the handle that it
   * must find for an #identity.
   */
  constructor(name, service, { cursor, ids, handleOf }) {
    this.name = name;
    this.from = cursor;
    this.reader = new FrameReader(service, { cursor });
    this.clients = [
      new AtprotoClient(service, cursor, ids, handleOf),
      new AtcuteClient(service, cursor),
      new SkywareClient(service, cursor),
    ];
  }

  /** Waits until everyone has read `count` events. */
  async arrived(count) {
    const { reader, clients } = this;
    const state = () => [
      `${reader.events.length} frames read; errors: ${[reader, ...clients].flatMap((c) => c.errors).map(describe).join('; ') || 'none'}`,
      ...clients.map((c) => `${c.name}: ${c.facts.length} events`),
    ].join('\n');
    await until(`${count} events ${this.name}`, () => reader.events.length >= count, { state });
    await until(`the clients to read them ${this.name}`,
      () => clients.every((client) => client.has(reader.facts())), { state });
  }

  /** Waits until everyone has read at least `count` events, while more come, and stops there. */
  async heard(count) {
    const { reader, clients } = this;
    await until(`${count} events ${this.name}`, () => reader.events.length >= count);
    reader.close();
    await until(`the clients to read them ${this.name}`, () => clients.every((client) => client.has(reader.facts())));
    const last = reader.cursor;
    for (const client of clients) client.facts = client.facts.filter((fact) => fact.seq <= last);
  }

  /** Asserts that each client saw what the plain reader saw, in the same order, and nobody an error. */
  check(claims) {
    const { name, reader, clients } = this;
    claims.ok(`${name}: seq only ever rises`,
      reader.events.every((event, i) => i === 0 || event.fact.seq > reader.events[i - 1].fact.seq));
    claims.sameList(`${name}: the plain reader met no error`, reader.errors.map(describe), []);
    for (const client of clients) this.#checkClient(claims, client);
  }

  #checkClient(claims, client) {
    const want = this.reader.facts().map(client.seen).filter(Boolean);
    claims.sameList(`${this.name}: ${client.name} saw these ${want.length} events, in this order`, client.facts, want);
    claims.sameList(`${this.name}: ${client.name} met no error`, client.errors.map(describe), []);
  }

  /** Resolves once the server has closed the plain reader's connection. */
  closed() {
    return until(`the end of the connection ${this.name}`, () => this.reader.closes.length > 0);
  }

  async close() {
    this.reader.close();
    for (const client of this.clients) await client.close();
  }
}

/** An error with its causes, on one line. */
export function describe(err) {
  return err.cause ? `${err.message}: ${describe(err.cause)}` : String(err.message ?? err);
}
