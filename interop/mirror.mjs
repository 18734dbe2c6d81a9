// The chain: a simulated network, the stock reference relay, a Cistern that follows it, and the
// npm clients. README.md says what it proves.
//
//   node mirror.mjs CISTERN-BINARY NETSIM-BINARY

import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { IdResolver } from '@atproto/identity';
import { Audience, describe } from './audience.mjs';
import { Claims } from './claims.mjs';
import { Mirror, ReferenceRelay, SimulatedNetwork } from './peers.mjs';
import { FrameReader } from './reader.mjs';
import { replayed } from './suppression.mjs';
import { poll, until } from './wait.mjs';

const EVENTS = 6000;
const RATE = 300;

const [program, netsim] = process.argv.slice(2);
if (!netsim) {
  console.error('usage: node mirror.mjs CISTERN-BINARY NETSIM-BINARY');
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
  const net = await SimulatedNetwork.prepare({ program: path.resolve(netsim), dir, events: EVENTS, hosts: 4 });
  const relay = await ReferenceRelay.prepare({ tools: process.env.CISTERN_INDIGO, dir });
  const mirror = await Mirror.prepare({ program: path.resolve(program), dir });
  processes.push(net, relay, mirror);
  await net.start({ rate: RATE });
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
  const live = new Audience('live', mirror.url, { cursor: 0, ids, handleOf: () => undefined });
  const first = 1500;
  await live.arrived(first);
  live.check(claims);

  claims.chapter('mirror and relay are killed while events flow');
  for (let i = 0; i < 10; i++) {
    await mirror.kill();
    if (i % 2 === 0) {
      await relay.kill();
      await relay.start(place);
    }
    const before = live.reader.events.length;
    await mirror.start({ ...place, wait: i % 3 !== 0 });
    if (i % 3 === 0) await new Promise((resolve) => { setTimeout(resolve, random() * 300); }); // somewhere in the start
    else await until('events after a kill', () => live.reader.events.length > before + 50);
  }
  await poll('the network to have said everything', async () => (await size(relay)) >= 0 && (await quiet(relay)), { ms: 120_000, every: 500 });
  const truth = await everything(relay);
  await until('the mirror to have everything', () => live.reader.cursor >= truth.at(-1).fact.seq);
  claims.ok(`the relay was killed 5 times and the mirror 10 times, in ${truth.length} events`, truth.length > EVENTS * 0.9);
  const lines = (events) => events.map((event) => event.line);
  claims.sameList('a consumer that was there all the while has what the relay has, byte for byte', lines(live.reader.events), lines(truth));
  live.check(claims);
  await live.close();

  claims.chapter('replay');
  const want = (cursor) => replayed(truth, cursor, truth.length);
  const replay = new Audience('replay', mirror.url, { cursor: 0, ids, handleOf: () => undefined });
  await replay.arrived(want(0).length);
  claims.sameList('from cursor 0, but for accounts that are not active', lines(replay.reader.events), lines(want(0)));
  replay.check(claims);
  await replay.close();

  claims.chapter('a cursor of one at the other');
  const wrong = [];
  for (let i = 0; i < 100; i++) {
    const at = Math.floor(random() * (truth.length - 1));
    const cursor = truth[at].fact.seq;
    const here = lines(want(cursor)).slice(0, 20);
    if (here.length > 0 && !same(await some(mirror.url, cursor, here.length), here)) wrong.push(`mirror after ${cursor}`);
    // The reference relay jumps to the present at the end of a file: what it says before that counts.
    const there = await some(relay.url, cursor, 1, 2000);
    if (there.length > 0 && there[0] !== truth[at + 1].line) wrong.push(`relay after ${cursor}`);
  }
  claims.sameList('100 of the relay\'s cursors at the mirror, and the other way', wrong, []);
}

/** Every event that a relay has. */
async function everything(relay) {
  const reader = new FrameReader(relay.url, { cursor: 0 });
  let n = -1;
  while (n !== reader.events.length) {
    n = reader.events.length;
    await new Promise((resolve) => { setTimeout(resolve, 1000); });
  }
  reader.close();
  return reader.events;
}

/** The last seq of a relay, by its metrics. */
async function size(relay) {
  const text = await (await fetch(`http://127.0.0.1:${relay.metrics}/metrics`)).text();
  return Number(/^disk_persister_current_seq (\S+)/m.exec(text)?.[1] ?? -1);
}

let last = -1;
let since = 0;
/** Whether a relay has had nothing new for three seconds. */
async function quiet(relay) {
  const now = await size(relay);
  if (now !== last) [last, since] = [now, performance.now()];
  return performance.now() - since > 3000;
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
