// Every method against its lexicon: cases are made from the lexicon's parameters, answers and
// errors, and answers are validated by the lexicon library that clients use.

import fs from 'node:fs';
import path from 'node:path';
import { schemas } from '@atproto/api';
import { Lexicons } from '@atproto/lexicon';

const ownFolder = '../lexicons/network/cistern';
const own = fs.readdirSync(ownFolder).map((name) => JSON.parse(fs.readFileSync(path.join(ownFolder, name), 'utf8')));

// What the relay offers of com.atproto.sync; subscribeRepos is for the clients of main.mjs.
const offered = ['listRepos', 'getRepoStatus', 'getLatestCommit', 'listReposByCollection', 'getRepo', 'getRecord', 'listHosts', 'getHostStatus', 'requestCrawl']
  .map((name) => `com.atproto.sync.${name}`);

// Lexicon documents that the library refers to but that are newer than it are added.
const lexicons = new Lexicons(schemas);
for (const doc of own) lexicons.add(doc);

/** Values that break a parameter's type. */
function broken(schema) {
  const bad = [];
  if (schema.type === 'integer') {
    bad.push('x', '1.5');
    if (schema.minimum !== undefined) bad.push(String(schema.minimum - 1));
    if (schema.maximum !== undefined) bad.push(String(schema.maximum + 1));
  }
  if (schema.type === 'string') {
    if (schema.maxLength) bad.push('x'.repeat(schema.maxLength + 1));
    const wrong = { did: 'alice.example', nsid: 'not an nsid', datetime: 'yesterday', tid: 'x', 'record-key': '' }[schema.format];
    if (wrong !== undefined) bad.push(wrong);
  }
  return bad;
}

export async function conform(claims, url) {
  const facts = await gather(url);
  const call = async (nsid, params, init = {}) => {
    const response = await fetch(`${url}/xrpc/${nsid}?${new URLSearchParams(params)}`, { redirect: 'manual', ...init });
    const text = await response.text();
    let body = null;
    try { body = JSON.parse(text); } catch { /* not JSON: a claim finds out */ }
    return { status: response.status, headers: response.headers, body, text };
  };
  const isError = (answer, status, names) =>
    answer.status === status && typeof answer.body?.message === 'string' && (names ?? ['InvalidRequest']).includes(answer.body?.error);

  for (const nsid of [...offered, ...own.map((doc) => doc.id)]) {
    claims.chapter(nsid);
    const def = lexicons.getDefOrThrow(nsid);
    if (def.type === 'procedure') {
      claims.ok('GET is 405 and says Allow: POST', await (async () => {
        const a = await call(nsid, {});
        return a.status === 405 && a.headers.get('allow') === 'POST';
      })());
      for (const body of ['', '[]', '{}', '{"hostname":5}', '{"hostname":""}']) {
        const a = await call(nsid, {}, { method: 'POST', body, headers: { 'content-type': 'application/json' } });
        claims.ok(`the body ${body || '(none)'} is InvalidRequest`, isError(a, 400), `${a.status} ${a.text}`);
      }
      const a = await call(nsid, {}, { method: 'POST', body: '{"hostname":"pds.invalid"}' });
      claims.ok('a host that is not there has an error of the lexicon, or is one too many', [400, 429].includes(a.status) &&
        ['HostBanned', 'HostNotFound', 'InvalidRequest', 'RateLimitExceeded'].includes(a.body?.error), `${a.status} ${a.text}`);
      continue;
    }
    const properties = def.parameters?.properties ?? {};
    const good = facts.params(nsid, properties);
    const answer = await call(nsid, good);
    if (def.output?.encoding === 'application/json') {
      claims.ok('it answers', answer.status === 200, `${JSON.stringify(good)}: ${answer.status} ${answer.text}`);
      let why = '';
      try { lexicons.assertValidXrpcOutput(nsid, answer.body); } catch (err) { why = err.message; }
      claims.ok('the answer is as the lexicon says', why === '', `${why} ${answer.text.slice(0, 500)}`);
    } else {
      claims.ok('it sends to the host', answer.status === 302 && facts.hosts.some((h) => answer.headers.get('location')?.startsWith(`http://${h}/xrpc/${nsid}?`)),
        `${answer.status} ${answer.headers.get('location')} ${answer.text}`);
    }
    claims.ok('any page may read it', answer.headers.get('access-control-allow-origin') === '*');
    const posted = await call(nsid, good, { method: 'POST' });
    claims.ok('POST is 405 and says Allow', posted.status === 405 && posted.headers.get('allow')?.includes('GET'), `${posted.status}`);
    for (const name of def.parameters?.required ?? []) {
      const { [name]: _, ...rest } = good;
      const a = await call(nsid, rest);
      claims.ok(`without ${name} it is InvalidRequest`, isError(a, 400), `${a.status} ${a.text}`);
    }
    for (const [name, schema] of Object.entries(properties)) {
      for (const value of broken(schema)) {
        const a = await call(nsid, { ...good, [name]: value });
        claims.ok(`${name}=${value.slice(0, 30)} is InvalidRequest`, isError(a, 400), `${a.status} ${a.text}`);
      }
    }
    if (properties.did && properties.did.type === 'string') {
      const a = await call(nsid, { ...good, did: 'did:plc:aaaaaaaaaaaaaaaaaaaaaaaa' });
      claims.ok('an account that nobody knows has an error of the lexicon', isError(a, 404, (def.errors ?? []).map((e) => e.name)), `${a.status} ${a.text}`);
    }
    if (properties.limit && properties.cursor) await pages(claims, nsid, good, call);
  }

  claims.chapter('what is not offered');
  for (const nsid of ['com.atproto.server.describeServer', 'com.atproto.sync.getBlob', 'x']) {
    const a = await call(nsid, {});
    claims.ok(`${nsid} is MethodNotImplemented`, isError(a, 501, ['MethodNotImplemented']), `${a.status} ${a.text}`);
  }
}

/** Pages of one and of three list what a large page lists, each once. */
async function pages(claims, nsid, good, call) {
  const { cursor: _, ...rest } = good;
  const listOf = (body) => Object.values(body).find(Array.isArray);
  const keyOf = (row) => row.did ?? `${row.hour ?? ''}${row.hostname}`;
  const whole = listOf((await call(nsid, { ...rest, limit: '100' })).body).map(keyOf);
  for (const limit of [1, 3]) {
    const got = [];
    let cursor;
    let sizes = true;
    do {
      const { body } = await call(nsid, { ...rest, limit: String(limit), ...(cursor && { cursor }) });
      const rows = listOf(body);
      sizes &&= rows.length <= limit && (rows.length === limit || !body.cursor);
      got.push(...rows.map(keyOf));
      cursor = body.cursor;
    } while (cursor && !got.includes(whole.at(-1)));
    claims.ok(`pages of ${limit} are full while there is a cursor`, sizes);
    claims.ok(`pages of ${limit} list nothing twice`, new Set(got).size === got.length);
    // Others may have come meanwhile.
    claims.sameList(`pages of ${limit} list the same, in order`, got.filter((key) => whole.includes(key)), whole);
  }
}

/** What is needed to ask for something that is there. */
async function gather(url) {
  const get = async (query) => (await fetch(`${url}/xrpc/${query}`)).json();
  const { repos } = await get('com.atproto.sync.listRepos');
  const { hosts } = await get('com.atproto.sync.listHosts');
  const someone = repos.find((r) => r.active);
  const at = (await get('network.cistern.getStream')).oldest.time;
  const known = { did: someone.did, hostname: hosts[0].hostname, collection: 'app.bsky.feed.post', rkey: 'self' };
  return {
    hosts: hosts.map((h) => h.hostname),
    params(nsid, properties) {
      if (nsid === 'network.cistern.resolveCursor') return { did: someone.did, rev: someone.rev };
      if (nsid === 'network.cistern.getHostLedger') return {};
      if (nsid.endsWith('Time')) return { time: at };
      return Object.fromEntries(Object.keys(properties).filter((name) => known[name]).map((name) => [name, known[name]]));
    },
  };
}
