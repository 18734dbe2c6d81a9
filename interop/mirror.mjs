// The chain: a simulated network, the stock reference relay, a Cistern that follows it, and the
// npm clients. README.md says what it proves.
//
//   node mirror.mjs CISTERN-BINARY NETSIM-BINARY [FOLDER-FOR-PICTURES]

import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { IdResolver } from '@atproto/identity';
import { Audience, describe } from './audience.mjs';
import { Claims } from './claims.mjs';
import { lookAtMirror } from './pages.mjs';
import { Mirror, ReferenceRelay, SimulatedNetwork } from './peers.mjs';
import { FrameReader } from './reader.mjs';
import { replayed } from './suppression.mjs';
import { poll, until } from './wait.mjs';

const RATE = 120; // events a second
const LIVE = 600; // that the clients read live

const [program, netsim, pictures] = process.argv.slice(2);
if (!netsim) {
  console.error('usage: node mirror.mjs CISTERN-BINARY NETSIM-BINARY [FOLDER-FOR-PICTURES]');
  process.exit(2);
}
const claims = new Claims();
const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'cistern-mirror-'));
const seed = Number(process.env.CISTERN_SEED ?? Math.floor(Math.random() * 2 ** 31));
console.log(`CISTERN_SEED=${seed}`);
const random = generator(seed);
const processes = [];
for (const event of ['uncaughtException', 'unhandledRejection']) {
  process.on(event, (err) => claims.ok(`no ${event}`, false, err.stack ?? err));
}

async function run() {
  const relay = await ReferenceRelay.prepare({ tools: process.env.CISTERN_INDIGO, dir });
  const mirror = await Mirror.prepare({ program: path.resolve(program), dir });
  const net = await SimulatedNetwork.start({ program: path.resolve(netsim), dir, hosts: 4, rate: RATE, seed });
  processes.push(net, relay, mirror);
  const place = { plcUrl: net.plcUrl, relayUrl: relay.url };
  await relay.start(place); // it makes its tables
  await relay.kill();
  relay.crawl(net.hosts);
  await relay.start(place);
  await mirror.start(place);

  claims.chapter('live, from cursor 0, through a relay and its mirror');
  const ids = new IdResolver({ plcUrl: net.plcUrl, fetch: globalThis.fetch, timeout: 60_000 });
  ids.handle.resolveDns = async () => undefined;
  ids.handle.resolveHttp = async () => undefined;
  const listen = (name, cursor) => new Audience(name, mirror.url, { cursor, ids, handleOf: () => undefined });
  const live = new FrameReader(mirror.url, { cursor: 0 });
  await heard(listen('live', 0), LIVE);

  await lookAtMirror(claims, mirror.url, new URL(relay.url).host, mirror.admin, pictures);

  claims.chapter('mirror and relay are killed while events flow');
  for (let i = 0; i < 10; i++) {
    await mirror.kill();
    if (i % 2 === 0) {
      await relay.kill();
      await relay.start(place);
    }
    const before = live.events.length;
    await mirror.start({ ...place, wait: i % 3 !== 0 });
    if (i % 3 === 0) await new Promise((resolve) => { setTimeout(resolve, random() * 300); }); // somewhere in the start
    else await until('events after a kill', () => live.events.length > before + 50);
  }
  const end = await lastSeq(relay);
  const said = await everything(relay, end);
  const truth = news(said);
  claims.ok(`the relay says some things twice after a kill, which the mirror leaves out (${said.length - truth.length})`, true);
  await until('the mirror to have everything', () => live.cursor >= end);
  claims.ok(`the relay was killed 5 times and the mirror 10 times, in ${truth.length} events`, truth.length > LIVE);
  // What is not active when a consumer connects again is not replayed to it: nobody's who ever was not.
  const left = new Set(truth.filter(({ fact }) => fact.kind === 'account' && !fact.active).map(({ fact }) => fact.did));
  const steady = ({ fact }) => fact.seq <= end && (!left.has(fact.did) || fact.kind === 'account' || fact.kind === 'identity');
  claims.sameList('a consumer that was there all the while has what the relay has, byte for byte, but for accounts that were not active',
    lines(live.events.filter(steady)), lines(truth.filter(steady)));
  claims.ok(`most accounts always were (${truth.filter(steady).length} events)`, truth.filter(steady).length > truth.length / 3);
  claims.sameList('it met no error', live.errors.map(describe), []);
  live.close();

  await net.kill(); // who leaves while others connect would be left out for some
  claims.chapter('replay, from the middle');
  await heard(listen('replay', truth[Math.floor(truth.length / 2)].fact.seq), 200);

  claims.chapter('a cursor of one at the other');
  const all = await everything(relay, await lastSeq(relay));
  const last = news(all).at(-1).fact.seq;
  await poll('the mirror to have the last event', async () =>
    (await (await fetch(`${mirror.url}/xrpc/network.cistern.getStream`)).json()).newest.seq >= last);
  const want = replayed(news(all), 0, all.length);
  const wrong = [];
  for (let i = 0; i < 100; i++) {
    const at = Math.floor(random() * (want.length - 20));
    const cursor = want[at].fact.seq;
    const here = lines(want.slice(at + 1, at + 20));
    if (!same(await some(mirror.url, cursor, here.length), here)) wrong.push(`mirror after ${cursor}`);
    // The reference relay does not leave out what it should, and jumps at the end of a file: its first event counts.
    const next = all.find(({ fact }) => fact.seq > cursor);
    if (!same(await some(relay.url, cursor, 1), lines([next]))) wrong.push(`relay after ${cursor}`);
  }
  claims.sameList('100 of the relay\'s cursors at the mirror, and the other way', wrong, []);
}

const lines = (events) => events.map((event) => event.line);

/** Lets an audience read some events, and checks that all of it saw the same. */
async function heard(audience, count) {
  await audience.heard(count);
  audience.check(claims);
  await audience.close();
}

/** Every event that a relay has up to a seq. */
async function everything(relay, end) {
  const reader = new FrameReader(relay.url, { cursor: 0 });
  await until('all that the relay has', () => reader.cursor >= end);
  reader.close();
  return reader.events.filter(({ fact }) => fact.seq <= end);
}

/** What of these events is new: a killed relay reads its hosts again, and says old revs under new numbers (verification.md, T28 and T29). */
function news(events) {
  const revs = new Map();
  return events.filter(({ fact: { kind, did, rev, commit } }) => {
    if (rev === undefined) return true;
    const last = revs.get(did);
    const fresh = !last || rev > last.rev || (kind === 'sync' && rev === last.rev && commit === last.commit);
    if (fresh) revs.set(did, { rev, commit });
    return fresh;
  });
}

/** The last seq of a relay, by its metrics, which have the next one. */
async function lastSeq(relay) {
  const text = await (await fetch(`http://127.0.0.1:${relay.metrics}/metrics`)).text();
  return Number(/^disk_persister_current_seq (\S+)/m.exec(text)[1]) - 1;
}

/** The first events behind a cursor, as many as come within `ms`. */
async function some(url, cursor, count, ms = 20_000) {
  const reader = new FrameReader(url, { cursor });
  await until('some events', () => reader.events.length >= count, { ms }).catch(() => {});
  reader.close();
  return reader.events.slice(0, count).map((event) => event.line);
}

const same = (a, b) => a.join('\n') === b.join('\n');

/** A generator of numbers in [0, 1) (mulberry32). */
function generator(state) {
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

try {
  await run();
} catch (err) {
  claims.ok('it is told to its end', false, `${describe(err)}\n${err.stack}\n\n${processes.map((p) => `${p.logFile}\n${p.log().slice(-3000)}`).join('\n\n')}`);
} finally {
  for (const p of processes) await p.kill();
}
process.exit(claims.close());
