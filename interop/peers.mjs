// What stands in a chain as a process of its own: the simulated network and the reference relay.

import { spawn } from 'node:child_process';
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import Database from 'better-sqlite3';
import { freePort, poll } from './wait.mjs';

/** A process that is started, killed and started again, with what it says in a file. */
class Process {
  constructor(program, logFile) {
    Object.assign(this, { program, logFile });
  }

  spawn(args) {
    const log = fs.openSync(this.logFile, 'a');
    this.child = spawn(this.program, args, { stdio: ['ignore', log, log] });
    this.exited = new Promise((resolve) => { this.child.on('exit', resolve); });
    fs.closeSync(log);
  }

  /** Ends it as a power cut would, disk and kernel apart. */
  async kill() {
    if (!this.child) return;
    this.child.kill('SIGKILL');
    await this.exited;
    this.child = undefined;
  }

  log() { return fs.existsSync(this.logFile) ? fs.readFileSync(this.logFile, 'utf8') : ''; }
}

/** A host of this machine by its name: the reference relay refuses documents that name an address. */
const named = (text) => text.replaceAll('http://127.0.0.1:', 'http://localhost:');

/** Serves a directory's documents with the hosts in them by their names, and goes on with what it knows when that has ended; returns its URL. */
async function serveByName(plcUrl) {
  const known = new Map();
  const server = http.createServer(async (req, res) => {
    const answer = await fetch(plcUrl + req.url).catch(() => undefined);
    const text = answer && named(await answer.text());
    const what = decodeURIComponent(req.url);
    if (answer?.ok) known.set(what, text);
    const status = answer?.status ?? (known.has(what) ? 200 : 502);
    res.writeHead(status, { 'content-type': 'application/json' }).end(text ?? known.get(what));
  });
  await new Promise((resolve) => { server.listen(0, '127.0.0.1', resolve); });
  return `http://127.0.0.1:${server.address().port}`;
}

/** Hosts that make events at a steady rate, until the process ends. */
export class SimulatedNetwork extends Process {
  /** Starts it; resolves when it listens, with its flags for a relay in `plcUrl` and `hosts`. */
  static async start({ program, dir, hosts, rate, seed }) {
    const net = new SimulatedNetwork(program, path.join(dir, 'netsim.log'));
    net.spawn(['serve', '--hosts', `${hosts}`, '--accounts', '20', '--records', '40', '--churn', '0.1', '--rate', `${rate}`, '--seed', `${seed}`]);
    const flags = await poll('the network to listen', () => /--plc-host .*/.exec(net.log())?.[0].split(/\s+/));
    net.plcUrl = await serveByName(flags[1]);
    net.hosts = flags.filter((_, i) => flags[i - 1] === '--host').map(named);
    return net;
  }
}

/** The reference relay as it is on the module proxy. Its API refuses hosts of this machine, so they are written into its database. */
export class ReferenceRelay extends Process {
  static async prepare({ tools, dir, name = 'reference' }) {
    const relay = new ReferenceRelay(path.join(tools, 'relay'), path.join(dir, `${name}.log`));
    relay.dir = path.join(dir, name);
    fs.mkdirSync(relay.dir);
    relay.db = path.join(relay.dir, 'relay.sqlite');
    relay.port = await freePort();
    relay.metrics = await freePort();
    relay.url = `http://127.0.0.1:${relay.port}`;
    return relay;
  }

  async start({ plcUrl }) {
    this.spawn(['--log-level', 'warn', 'serve', '--disable-request-crawl', '--admin-password', 'x', '--plc-host', plcUrl,
      '--db-url', `sqlite://${this.db}`, '--persist-dir', path.join(this.dir, 'persist'),
      '--bind', `127.0.0.1:${this.port}`, '--metrics-listen', `127.0.0.1:${this.metrics}`]);
    await poll('the reference relay to answer', async () => (await fetch(`${this.url}/xrpc/_health`)).ok);
  }

  /** Has it crawl hosts from its next start on. */
  crawl(hosts) {
    const db = new Database(this.db);
    const insert = db.prepare(`INSERT INTO host (created_at, updated_at, hostname, no_ssl, account_limit, trusted, status, last_seq, account_count)
      VALUES (datetime('now'), datetime('now'), ?, 1, 1000000, 1, 'active', -1, 0)`);
    for (const url of hosts) insert.run(new URL(url).host);
    db.close();
  }
}

/** Cistern behind a relay. */
export class Mirror extends Process {
  static async prepare({ program, dir }) {
    const mirror = new Mirror(program, path.join(dir, 'mirror.log'));
    mirror.dataDir = path.join(dir, 'mirror');
    mirror.port = await freePort();
    mirror.url = `http://127.0.0.1:${mirror.port}`;
    mirror.admin = { user: 'admin', password: 'demo' };
    return mirror;
  }

  async start({ plcUrl, relayUrl, wait = true }) {
    this.spawn(['serve', '--upstream-relay', relayUrl, '--data-dir', this.dataDir, '--plc-host', plcUrl, '--plc-rate', '0',
      '--segment-size', '1MiB', '--segment-age', '2s', '--bind', `127.0.0.1:${this.port}`, '--metrics-listen', '', '--admin-password', this.admin.password]);
    if (wait) await poll('the mirror to answer', async () => (await fetch(`${this.url}/xrpc/_health`)).ok);
  }
}
