// The API and the pages, of a relay that runs its demo: every method against its lexicon, and
// the pages in a real Chromium. README.md says what it proves.
//
//   node api.mjs CISTERN-BINARY [FOLDER-FOR-SCREENSHOTS]

import { spawn } from 'node:child_process';
import path from 'node:path';
import WebSocket from 'ws';
import { Claims } from './claims.mjs';
import { conform } from './conformance.mjs';
import { lookAtPages } from './pages.mjs';
import { freePort, poll } from './wait.mjs';

const [program, pictures] = process.argv.slice(2);
if (!program) {
  console.error('usage: node api.mjs CISTERN-BINARY [FOLDER-FOR-SCREENSHOTS]');
  process.exit(2);
}
const claims = new Claims();
const [port, metrics] = [await freePort(), await freePort()];
const url = `http://127.0.0.1:${port}`;
const relay = spawn(path.resolve(program), ['serve', '--demo', '--bind', `127.0.0.1:${port}`, '--metrics-listen', `127.0.0.1:${metrics}`], {
  stdio: ['ignore', 'ignore', 'inherit'],
});
try {
  await poll('the relay to be ready and a thousand events', async () => {
    if ((await fetch(`${url}/_readyz`)).status !== 200) return false;
    return (await (await fetch(`${url}/xrpc/network.cistern.getStream`)).json()).newest?.seq > 1000;
  });
  // Two consumers, for the page: one at the tip, one that reads from the beginning and pauses.
  const consumers = ['', '?cursor=0'].map((query) => new WebSocket(`${url.replace('http', 'ws')}/xrpc/com.atproto.sync.subscribeRepos${query}`, {
    headers: { 'User-Agent': query ? 'a feed generator' : 'a bot' },
  }));
  await Promise.all(consumers.map((c) => new Promise((resolve, reject) => c.once('open', resolve).once('error', reject))));
  await conform(claims, url);
  await lookAtPages(claims, url, { user: 'admin', password: 'demo' }, pictures);
} catch (err) {
  claims.ok('it is told to its end', false, err.stack ?? err);
} finally {
  relay.kill('SIGKILL');
}
process.exit(claims.close());
