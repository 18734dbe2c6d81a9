// The program under test, as a process of its own.

import { spawn } from 'node:child_process';
import fs from 'node:fs';
import { freePort, poll } from './wait.mjs';

export class Cistern {
  /** `program`: the binary. `dir`: holds its data directory and its log. `store`: of its archive. */
  static async prepare({ program, dir, plcUrl, hosts, store }) {
    const cistern = new Cistern();
    const [port, metricsPort] = [await freePort(), await freePort()];
    cistern.program = program;
    cistern.env = { ...process.env, ...store.env };
    cistern.dataDir = `${dir}/data`;
    cistern.logFile = `${dir}/cistern.log`;
    cistern.url = `http://127.0.0.1:${port}`;
    cistern.args = [
      'serve', '--data-dir', cistern.dataDir, '--archive', store.url, '--new-stream',
      '--segment-size', '1MiB', '--segment-age', '2s',
      '--bind', `127.0.0.1:${port}`, '--metrics-listen', `127.0.0.1:${metricsPort}`,
      '--plc-host', plcUrl, '--log-level', 'debug',
      ...hosts.flatMap((url) => ['--host', url]),
    ];
    return cistern;
  }

  /** Starts it, and resolves when it answers HTTP. */
  async start() {
    const log = fs.openSync(this.logFile, 'a');
    const child = spawn(this.program, this.args, { stdio: ['ignore', log, log], env: this.env });
    fs.closeSync(log);
    this.child = child;
    this.exited = new Promise((resolve) => {
      child.on('exit', (code, signal) => resolve({ code, signal }));
      child.on('error', (err) => resolve({ err }));
    });
    let gone;
    this.exited.then((how) => { gone = how; });
    await poll('Cistern to answer HTTP', async () => {
      if (gone) throw Object.assign(new Error(`Cistern exited: ${JSON.stringify(gone)}`), { fatal: true });
      const answer = await fetch(`${this.url}/xrpc/_health`);
      await answer.arrayBuffer();
      return true;
    });
  }

  /** Sends SIGTERM; resolves with {code, signal, ms}, with code null if it did not exit within 20 s. */
  async stop() {
    const began = performance.now();
    this.child.kill('SIGTERM');
    let timer;
    const late = new Promise((resolve) => { timer = setTimeout(() => resolve({ code: null, signal: 'none' }), 20_000); });
    const how = await Promise.race([this.exited, late]);
    clearTimeout(timer);
    return { ...how, ms: Math.round(performance.now() - began) };
  }

  /** Resolves when the archive holds everything up to a seq. */
  async shipped(seq) {
    await poll(`the archive to hold seq ${seq}`, async () => {
      const lines = (await (await fetch(`${this.url}/archive/catalog`)).text()).trim().split('\n');
      return lines.some((line) => line && JSON.parse(line).last_seq >= seq);
    });
  }

  /** Loses the disk of a relay that is stopped. */
  loseDisk() {
    fs.rmSync(this.dataDir, { recursive: true });
  }

  kill() {
    this.child?.kill('SIGKILL');
  }

  /** The end of its log, for a report of failure. */
  logTail(lines = 60) {
    if (!fs.existsSync(this.logFile)) return '';
    return fs.readFileSync(this.logFile, 'utf8').trimEnd().split('\n').slice(-lines).join('\n');
  }
}
