// What others run behind a relay, in Go: `relay pull-hosts`, which reads its list of hosts, and
// tap, which follows the whole network by it.

import { execFile, spawn } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import { freePort, poll } from './wait.mjs';

/** `tools`: the folder with both programs. `known`: DIDs of accounts that are active. */
export async function readByIndigo(claims, { tools, dir, relayUrl, plcUrl, hosts, known }) {
  claims.chapter('the reference relay’s pull-hosts, and tap');
  fs.mkdirSync(path.join(dir, 'indigo'));
  const pulled = await promisify(execFile)(path.join(tools, 'relay'), [
    'pull-hosts', '--relay-host', relayUrl, '--batch-size', '1', '--db-url', `sqlite://${dir}/indigo/relay.sqlite`, '--skip-host-checks',
  ]).then(({ stdout }) => ({ stdout }), (err) => ({ stdout: err.stdout, err }));
  claims.ok('pull-hosts ends without an error', !pulled.err, `${pulled.err}`);
  const listed = pulled.stdout.split('\n').filter((line) => / *(added|exists|non-public|status=|no-cursor)/.test(line));
  claims.ok(`it was told of every host (${hosts})`, listed.length === hosts, pulled.stdout);

  const port = await freePort();
  const log = fs.openSync(path.join(dir, 'indigo', 'tap.log'), 'w');
  const tap = spawn(path.join(tools, 'tap'), ['run'], {
    stdio: ['ignore', log, log],
    env: {
      ...process.env, TAP_RELAY_URL: relayUrl, TAP_PLC_URL: plcUrl, TAP_FULL_NETWORK: 'true', TAP_DISABLE_ACKS: 'true', TAP_NO_REPLAY: 'false',
      TAP_BIND: `127.0.0.1:${port}`, TAP_DATABASE_URL: `sqlite://${dir}/indigo/tap.sqlite`,
    },
  });
  fs.closeSync(log);
  const text = () => fs.readFileSync(path.join(dir, 'indigo', 'tap.log'), 'utf8');
  try {
    const get = async (what) => (await fetch(`http://127.0.0.1:${port}/${what}`)).json();
    await poll('tap to know every account', async () => {
      const states = await Promise.all([...known].map((did) => get(`info/${did}`).catch(() => ({}))));
      return states.every((s) => s.state === 'active');
    }, { ms: 90_000 });
    claims.ok(`tap follows every active account (${known.size})`, true);
    const { record_count: records } = await get('stats/record-count');
    claims.ok(`and has their records (${records})`, records > 0);
    const { firehose } = await get('stats/cursors');
    claims.ok(`and a cursor of the stream (${firehose})`, firehose > 0);
  } catch (err) {
    claims.ok('tap follows every active account', false, `${err}\n${text().slice(-3000)}`);
  } finally {
    tap.kill('SIGKILL');
  }
  const errors = text().split('\n').filter((line) => /level=ERROR|"level":"ERROR"|panic/.test(line));
  claims.sameList('tap complains of nothing', errors, []);
}
