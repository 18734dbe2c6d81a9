// The program under test, as a process of its own.

import { spawn } from 'node:child_process';
import fs from 'node:fs';
import net from 'node:net';
import { poll } from './wait.mjs';

async function freePort() {
  const server = net.createServer();
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

export class Cistern {
  /** `program`: the binary. `dir`: holds its data directory and its log. */
  static async prepare({ program, dir, plcUrl, hosts }) {
    const cistern = new Cistern();
    const [port, metricsPort] = [await freePort(), await freePort()];
    cistern.program = program;
    cistern.logFile = `${dir}/cistern.log`;
    cistern.url = `http://127.0.0.1:${port}`;
    cistern.args = [
      'serve', '--data-dir', `${dir}/data`,
      '--bind', `127.0.0.1:${port}`, '--metrics-listen', `127.0.0.1:${metricsPort}`,
      '--plc-host', plcUrl, '--log-level', 'debug',
      ...hosts.flatMap((url) => ['--host', url]),
    ];
    return cistern;
  }

  /** Starts it, and resolves when it answers HTTP. */
  async start() {
    const log = fs.openSync(this.logFile, 'a');
    const child = spawn(this.program, this.args, { stdio: ['ignore', log, log] });
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

  kill() {
    this.child?.kill('SIGKILL');
  }

  /** The end of its log, for a report of failure. */
  logTail(lines = 60) {
    if (!fs.existsSync(this.logFile)) return '';
    return fs.readFileSync(this.logFile, 'utf8').trimEnd().split('\n').slice(-lines).join('\n');
  }
}
