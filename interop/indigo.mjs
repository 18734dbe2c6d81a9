// What others run behind a relay, in Go: `relay pull-hosts`, which reads its list of hosts, and
// tap, which follows the whole network by it.

import { execFile, spawn } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import { freePort, poll } from './wait.mjs';

/** Lets the reference relay read the list of hosts, of which there are `count`. */
export async function pullHosts(claims, { tools, dir, relayUrl, count }) {
  const { stdout, err } = await promisify(execFile)(path.join(tools, 'relay'), [
    'pull-hosts', '--relay-host', relayUrl, '--batch-size', '1', '--db-url', `sqlite://${dir}/pulled.sqlite`, '--skip-host-checks',
  ]).catch((failed) => ({ stdout: failed.stdout, err: failed }));
  claims.ok('pull-hosts ends without an error', !err, `${err}`);
  const listed = stdout.split('\n').filter((line) => /: (added|exists|non-public|status=|no-cursor)/.test(line));
  claims.ok(`it was told of every host (${count})`, listed.length === count, stdout);
}

export class Tap {
  /** Starts tap, in full-network mode, and resolves when it follows the stream. */
  static async start({ tools, dir, relayUrl, plcUrl }) {
    const tap = new Tap();
    const port = await freePort();
    tap.url = `http://127.0.0.1:${port}`;
    tap.logFile = path.join(dir, 'tap.log');
    const log = fs.openSync(tap.logFile, 'w');
    tap.child = spawn(path.join(tools, 'tap'), ['run'], {
      stdio: ['ignore', log, log],
      env: {
        ...process.env, TAP_RELAY_URL: relayUrl, TAP_PLC_URL: plcUrl, TAP_FULL_NETWORK: 'true', TAP_DISABLE_ACKS: 'true',
        TAP_CURSOR_SAVE_INTERVAL: '100ms', TAP_BIND: `127.0.0.1:${port}`, TAP_DATABASE_URL: `sqlite://${dir}/tap.sqlite`,
      },
    });
    fs.closeSync(log);
    await poll('tap to follow the stream', () => tap.log().includes('connected to firehose'));
    return tap;
  }

  log() { return fs.readFileSync(this.logFile, 'utf8'); }

  async get(what) { return (await fetch(`${this.url}/${what}`)).json(); }

  kill() { this.child.kill('SIGKILL'); }

  /** Resolves when it has a cursor of the stream to go on from. */
  async hasCursor() {
    await poll('tap to keep a cursor', async () => (await this.get('stats/cursors')).firehose > 0);
  }

  /** Asserts that it comes to `revs`, the last rev of each account, and ends it. */
  async finish(claims, revs) {
    let behind = ['nobody was asked for'];
    await poll('tap to have everything', async () => {
      behind = [];
      for (const [did, rev] of revs) {
        const info = await this.get(`info/${did}`);
        if (info.state !== 'active' || !(info.rev >= rev)) behind.push(`${JSON.stringify(info)}, not ${rev}`);
      }
      return behind.length === 0;
    }, { every: 250 }).catch(() => {});
    claims.sameList(`tap followed every account to its last commit, across the restart (${revs.size})`, behind, []);
    const { record_count: records } = await this.get('stats/record-count');
    claims.ok(`and has their records (${records})`, records > 0);
    this.kill();
    const errors = this.log().split('\n').filter((line) => /"level":"ERROR"|panic/.test(line));
    claims.sameList('tap complains of nothing', errors, []);
  }
}
