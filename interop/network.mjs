// The network that Cistern stands in: a PLC directory and reference PDSes from
// npm, the front of the directory, and one PDS behind a dialect.

import http from 'node:http';
import { text } from 'node:stream/consumers';
import { TestPds, TestPlc } from '@atproto/dev-env';
import { IdResolver } from '@atproto/identity';
import { DialectFront } from './dialect.mjs';
import { DirectoryFront } from './directory.mjs';
import { FrameReader } from './reader.mjs';

/** One PDS, what it mailed, and every frame that it ever sent. */
class Host {
  #mails = new Map();

  constructor(name, pds) {
    this.name = name;
    this.pds = pds;
    this.url = pds.url;
    // The address that Cistern crawls; a front may replace it.
    this.address = pds.url;
    this.record = new FrameReader(pds.url, { cursor: 0 });
    this.#catchMail();
  }

  // The PDS has no SMTP server here, so its letters end where they begin.
  #catchMail() {
    const { transporter } = this.pds.ctx.mailer;
    const send = transporter.sendMail.bind(transporter);
    transporter.sendMail = async (mail) => {
      this.#mails.set(mail.to, mail.html);
      return send(mail);
    };
  }

  /** The code in the last letter to this address. */
  mailedCode(email) {
    const code = /\b([A-Z2-7]{5}-[A-Z2-7]{5})\b/.exec(this.#mails.get(email) ?? '');
    if (!code) throw new Error(`${this.name} mailed no code to ${email}`);
    return code[1];
  }
}

export class Network {
  hosts = {};

  static async start() {
    const net = new Network();
    net.plc = await TestPlc.create({});
    net.directory = new DirectoryFront(net.plc.url);
    net.plcUrlForCistern = await net.directory.listen({ counted: true });
    net.plcUrlForClients = await net.directory.listen({ counted: false });
    for (const name of ['one', 'two', 'dialect']) {
      const pds = await TestPds.create({ didPlcUrl: net.plc.url });
      net.hosts[name] = new Host(name, pds);
    }
    const { dialect } = net.hosts;
    net.front = new DialectFront(dialect.url);
    dialect.address = await net.front.listen();
    net.directory.standBehind(dialect.url, dialect.address);
    return net;
  }

  addresses() {
    return Object.values(this.hosts).map((host) => host.address);
  }

  /**
   * fetch for the clients' resolvers. Handles here end in .test, so there is
   * no DNS for them: a handle's well-known file is asked of the PDSes, as a
   * wildcard record would do.
   */
  fetch = async (input, init) => {
    const url = new URL(input?.url ?? input);
    if (!url.hostname.endsWith('.test')) return globalThis.fetch(input, init);
    for (const host of Object.values(this.hosts)) {
      const answer = await getAs(host.url + url.pathname, url.hostname);
      if (answer.ok) return answer;
    }
    return new Response('User not found', { status: 404 });
  };

  /** The resolver that @atproto/sync users have, on this network. */
  resolver() {
    // A busy machine may take longer over a lookup than the 3 s that are the default.
    const ids = new IdResolver({ plcUrl: this.plcUrlForClients, fetch: this.fetch, timeout: 60_000 });
    ids.handle.resolveDns = async () => undefined;
    return ids;
  }

  /**
   * A resolver for reading history. A commit from before a migration is signed
   * with a key that is no longer in the document; the directory's log still has
   * it. Asked again for a key (which @atproto/sync does when a signature does
   * not fit), this resolver gives the account's key before the present one.
   */
  historicResolver() {
    const ids = this.resolver();
    const present = ids.did.resolveAtprotoKey.bind(ids.did);
    ids.did.resolveAtprotoKey = async (did, again) => {
      const key = await present(did);
      if (!again) return key;
      const log = await (await fetch(`${this.plc.url}/${did}/log`)).json();
      return log.map((op) => op.verificationMethods.atproto).findLast((k) => k !== key) ?? key;
    };
    return ids;
  }

  async close() {
    for (const host of Object.values(this.hosts)) host.record.close();
    await this.front.close();
    for (const host of Object.values(this.hosts)) await host.pds.close();
    await this.directory.close();
    await this.plc.close();
  }
}

/** GETs a URL under another Host header, which fetch does not let one set. */
function getAs(url, host) {
  return new Promise((resolve, reject) => {
    http.get(url, { headers: { host } }, async (answer) => {
      resolve(new Response(await text(answer), { status: answer.statusCode }));
    }).on('error', reject);
  });
}
