// The PLC directory's front. The npm directory writes DID documents in the
// legacy form; plc.directory writes Multikey. The front serves one form or the
// other, account about account, so that both are met in one run. It also lets
// a host stand behind another address (see dialect.mjs).

import http from 'node:http';
import { buffer } from 'node:stream/consumers';

const DID_PATH = /^\/(did(?::|%3A)plc(?::|%3A)[a-z2-7]+)$/i;

export class DirectoryFront {
  /** Documents served to Cistern, by form: what it really met. */
  served = { legacy: 0, multikey: 0 };
  #form = new Map();
  #moved = new Map();

  constructor(plcUrl) {
    this.plcUrl = plcUrl;
  }

  /** From now on documents name `front` where the directory has `origin`. */
  standBehind(origin, front) {
    this.#moved.set(origin, front);
  }

  /** "legacy" or "multikey"; the first account asked for gets one, the next the other. */
  formOf(did) {
    if (!this.#form.has(did)) this.#form.set(did, this.#form.size % 2 ? 'multikey' : 'legacy');
    return this.#form.get(did);
  }

  /** Starts a listener; `counted` says whether its answers go into `served`. Returns its URL. */
  async listen({ counted }) {
    const server = http.createServer((req, res) => {
      this.#answer(req, res, counted).catch((err) => {
        res.writeHead(502).end(String(err));
      });
    });
    await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
    (this.servers ??= []).push(server);
    return `http://127.0.0.1:${server.address().port}`;
  }

  async #answer(req, res, counted) {
    const body = req.method === 'POST' ? await buffer(req) : undefined;
    const upstream = await fetch(this.plcUrl + req.url, {
      method: req.method, body, headers: body && { 'content-type': req.headers['content-type'] },
    });
    const type = upstream.headers.get('content-type') ?? 'application/json';
    const match = DID_PATH.exec(req.url);
    if (!match || req.method !== 'GET' || !upstream.ok) {
      res.writeHead(upstream.status, { 'content-type': type });
      res.end(Buffer.from(await upstream.arrayBuffer()));
      return;
    }
    const did = decodeURIComponent(match[1]);
    const form = this.formOf(did);
    if (counted) this.served[form]++;
    const doc = this.#relocate(await upstream.json());
    res.writeHead(200, { 'content-type': type });
    res.end(JSON.stringify(form === 'multikey' ? await this.#asMultikey(did, doc) : doc));
  }

  #relocate(doc) {
    const service = doc.service.map((entry) => ({
      ...entry, serviceEndpoint: this.#moved.get(entry.serviceEndpoint) ?? entry.serviceEndpoint,
    }));
    return { ...doc, service };
  }

  /** The document as plc.directory writes it. The key in that form is the did:key's own text. */
  async #asMultikey(did, doc) {
    const data = await (await fetch(`${this.plcUrl}/${did}/data`)).json();
    return {
      ...doc,
      '@context': [
        'https://www.w3.org/ns/did/v1',
        'https://w3id.org/security/multikey/v1',
        'https://w3id.org/security/suites/secp256k1-2019/v1',
      ],
      verificationMethod: [{
        id: `${did}#atproto`,
        type: 'Multikey',
        controller: did,
        publicKeyMultibase: data.verificationMethods.atproto.replace('did:key:', ''),
      }],
    };
  }

  async close() {
    for (const server of this.servers ?? []) {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    }
  }
}
