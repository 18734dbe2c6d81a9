// The run: a story on three hosts, told by Cistern to real clients, before and
// after a restart. README.md says what it proves.
//
//   node main.mjs CISTERN-BINARY

import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { Audience, describe } from './audience.mjs';
import { Cistern } from './cistern.mjs';
import { Claims } from './claims.mjs';
import { pullHosts, Tap } from './indigo.mjs';
import { Ledger } from './ledger.mjs';
import { Network } from './network.mjs';
import { Store } from './store.mjs';
import { inactive, replayed } from './suppression.mjs';
import { checkEveryCursor } from './cursors.mjs';
import { Story } from './story.mjs';

const began = performance.now();
const claims = new Claims();
const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'cistern-interop-'));
let net;
let cistern;
let store;
let tap;

// A client library that throws outside of any call of ours ends up here.
for (const event of ['uncaughtException', 'unhandledRejection']) {
  process.on(event, (err) => claims.ok(`no ${event}`, false, err.stack ?? err));
}

async function run(program) {
  net = await Network.start();
  store = await Store.start(dir);
  cistern = await Cistern.prepare({
    program, dir, plcUrl: net.plcUrlForCistern, hosts: net.addresses(), store,
  });
  await cistern.start();
  const tools = process.env.CISTERN_INDIGO;
  tap = await Tap.start({ tools, dir, relayUrl: cistern.url, plcUrl: net.plcUrlForClients });

  const ledger = new Ledger(net.hosts);
  const story = new Story(net.hosts, ledger, claims);
  const handleThen = (fact) => ledger.handleThen(fact);
  // Who reads history finds the handles of today behind events of long ago.
  const readFrom = (cursor, name) => {
    const [tip, today] = [live.reader.cursor, story.handles()];
    const handleOf = (fact) => (fact.seq <= tip ? today.get(fact.did) : handleThen(fact));
    const audience = new Audience(name, cistern.url, { cursor, ids: net.historicResolver(), handleOf });
    audience.connectedAt = live.reader.events.length;
    return audience;
  };
  const replayedTo = (audience) => replayed(live.reader.events, audience.from, audience.connectedAt);

  claims.chapter('live, from cursor 0');
  const live = new Audience('live', cistern.url, {
    cursor: 0, ids: net.resolver(), handleOf: handleThen,
  });
  story.arrived = () => live.arrived(ledger.count());
  await story.firstPart();
  ledger.check(claims, 'live', live.reader.events);
  live.check(claims);

  claims.chapter('replay, from cursor 0');
  const replay = readFrom(0, 'replay');
  claims.ok('somebody has left by now, whose commits are not replayed', replayedTo(replay).length < ledger.count());
  await replay.arrived(replayedTo(replay).length);
  checkSame(replay, replayedTo(replay));
  replay.check(claims);
  await replay.close();

  await pullHosts(claims, { tools, dir, relayUrl: cistern.url, count: Object.keys(net.hosts).length });
  await tap.hasCursor();

  claims.chapter('a stop, and events while it is down');
  const before = live.reader.events.length;
  const how = await cistern.stop();
  claims.ok(`SIGTERM ends it with exit code 0 within 10 s (${how.ms} ms)`, how.code === 0 && how.ms < 10_000,
    JSON.stringify(how));
  await live.closed();
  claims.sameList('consumers are closed with 1012, service restart', live.reader.closes, [1012]);
  story.arrived = async () => {};
  await story.whileDown();

  claims.chapter('after the restart');
  await cistern.start();
  story.arrived = () => live.arrived(ledger.count());
  await story.arrived();
  claims.ok('consumers that reconnect by themselves get what happened meanwhile', live.reader.events.length > before);
  const middle = live.reader.events[Math.floor(before / 2)].fact.seq;
  const again = [readFrom(0, 'again from 0'), readFrom(middle, `from the middle (${middle})`)];
  story.arrived = async () => {
    await live.arrived(ledger.count());
    for (const audience of again) await audience.arrived(replayedTo(audience).length);
  };
  await story.arrived();
  await story.secondPart();
  ledger.check(claims, 'live across the restart', live.reader.events);
  live.check(claims);
  for (const audience of again) {
    checkSame(audience, replayedTo(audience));
    audience.check(claims);
    await audience.close();
  }
  await checkEveryCursor(claims, cistern.url, live.reader.events);

  claims.chapter('tap, which followed since the first event');
  await tap.finish(claims, lastRevs(live.reader.events));

  claims.chapter('the disk is lost, and the archive has everything');
  await cistern.shipped(live.reader.events.at(-1).fact.seq);
  const left = await cistern.stop();
  claims.ok('SIGTERM ends it with exit code 0', left.code === 0, JSON.stringify(left));
  cistern.loseDisk();
  await cistern.start();
  const restored = readFrom(0, 'from 0 through the bucket');
  story.arrived = async () => {
    await live.arrived(ledger.count());
    await restored.arrived(replayedTo(restored).length);
  };
  await story.arrived();
  await story.afterTheLoss();
  ledger.check(claims, 'live across the loss', live.reader.events);
  live.check(claims);
  checkSame(restored, replayedTo(restored));
  restored.check(claims);
  await restored.close();
  await checkEveryCursor(claims, cistern.url, live.reader.events);
  const silenced = inactive(live.reader.events);
  claims.ok(`accounts are gone whose commits nobody can replay (${silenced.size})`, silenced.size > 0);
  claims.ok('new events have numbers far above those before', live.reader.events.at(-1).fact.seq >= 1_000_000_000);

  claims.chapter('what it was all tried with');
  checkCoverage(ledger);
  const end = await cistern.stop();
  claims.ok('the second SIGTERM ends it with exit code 0 too', end.code === 0, JSON.stringify(end));
  await live.close();
}

/** Asserts that an audience read the very frames, seq included, that it must get of those that the live one had. */
function checkSame(audience, want) {
  const lines = (events) => events.map((event) => event.line);
  claims.sameList(`${audience.name}: the same frames under the same seq as live, but for accounts that are not active`,
    lines(audience.reader.events), lines(want));
}

/** The rev of the last commit of each account that is active in the end. */
function lastRevs(events) {
  const revs = new Map();
  for (const { fact } of events) if (fact.kind === 'commit') revs.set(fact.did, fact.rev);
  for (const did of inactive(events)) revs.delete(did);
  return revs;
}

/** Asserts that what the run set up did take part in it. */
function checkCoverage(ledger) {
  const { served } = net.directory;
  for (const [form, count] of Object.entries(served)) {
    claims.ok(`Cistern was served ${form} DID documents (${count})`, count > 0);
  }
  for (const [name, count] of Object.entries(net.front.spoken)) {
    claims.ok(`a host sent frames in the dialect "${name}" (${count})`, count > 0);
  }
  claims.sameList('the hosts said nothing that the story does not explain', ledger.unexplained(), []);
  claims.ok(`events that must be dropped took part (${ledger.dropped.length})`, ledger.dropped.length > 0);
}

const program = process.argv[2];
if (!program) {
  console.error('usage: node main.mjs CISTERN-BINARY');
  process.exit(2);
}
try {
  await run(path.resolve(program));
} catch (err) {
  claims.ok('the story is told to its end', false, `${describe(err)}\n${err.stack}\n\nthe end of Cistern's log:\n${cistern?.logTail()}`);
} finally {
  cistern?.kill();
  store?.kill();
  tap?.kill();
}
console.log(`\n${Math.round((performance.now() - began) / 100) / 10} s after the modules were loaded`);
const code = claims.close();
// The hosts hold timers and sockets of their own; what there was to see has been seen.
process.exit(code);
