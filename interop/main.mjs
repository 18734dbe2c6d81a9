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
import { Ledger } from './ledger.mjs';
import { Network } from './network.mjs';
import { checkEveryCursor } from './cursors.mjs';
import { Story } from './story.mjs';

const began = performance.now();
const claims = new Claims();
const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'cistern-interop-'));
let net;
let cistern;

// A client library that throws outside of any call of ours ends up here.
for (const event of ['uncaughtException', 'unhandledRejection']) {
  process.on(event, (err) => claims.ok(`no ${event}`, false, err.stack ?? err));
}

async function run(program) {
  net = await Network.start();
  cistern = await Cistern.prepare({
    program, dir, plcUrl: net.plcUrlForCistern, hosts: net.addresses(),
  });
  await cistern.start();

  const ledger = new Ledger(net.hosts);
  const story = new Story(net.hosts, ledger, claims);
  const handleThen = (fact) => ledger.handleThen(fact);
  // Who reads history finds the handles of today behind events of long ago.
  const readFrom = (cursor, name) => {
    const [tip, today] = [live.reader.cursor, story.handles()];
    const handleOf = (fact) => (fact.seq <= tip ? today.get(fact.did) : handleThen(fact));
    return new Audience(name, cistern.url, { cursor, ids: net.historicResolver(), handleOf });
  };

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
  await replay.arrived(ledger.count());
  checkSame(replay, live);
  replay.check(claims);
  await replay.close();

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
  const rest = (audience) => live.reader.events.filter((event) => event.fact.seq > audience.cursor).length;
  story.arrived = async () => {
    await live.arrived(ledger.count());
    for (const audience of again) await audience.arrived(rest(audience));
  };
  await story.arrived();
  await story.secondPart();
  ledger.check(claims, 'live across the restart', live.reader.events);
  live.check(claims);
  for (const audience of again) {
    checkSame(audience, live);
    audience.check(claims);
    await audience.close();
  }
  await checkEveryCursor(claims, cistern.url, live.reader.events);

  claims.chapter('what it was all tried with');
  checkCoverage(ledger);
  const end = await cistern.stop();
  claims.ok('the second SIGTERM ends it with exit code 0 too', end.code === 0, JSON.stringify(end));
  await live.close();
}

/** Asserts that an audience read the very frames, seq included, that the live one has from its cursor on. */
function checkSame(audience, live) {
  const lines = (events) => events.map((event) => event.line);
  claims.sameList(`${audience.name}: the same frames under the same seq as live`,
    lines(audience.reader.events),
    lines(live.reader.events.filter((event) => event.fact.seq > audience.cursor)));
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
}
console.log(`\n${Math.round((performance.now() - began) / 100) / 10} s after the modules were loaded`);
const code = claims.close();
// The hosts hold timers and sockets of their own; what there was to see has been seen.
process.exit(code);
