// A person with an account: everything that the run does goes through the
// XRPC methods that an app would call.

class XrpcError extends Error {}

/** Calls an XRPC method: a query without `body`, a procedure with it. */
async function xrpc(host, method, { params, body, token, type = 'application/json' } = {}) {
  const query = params ? `?${new URLSearchParams(params)}` : '';
  const answer = await fetch(`${host.url}/xrpc/${method}${query}`, {
    method: body === undefined ? 'GET' : 'POST',
    headers: {
      ...(body !== undefined && body !== null && { 'content-type': type }),
      ...(token && { authorization: `Bearer ${token}` }),
    },
    body: body === undefined || body === null || body instanceof Uint8Array ? body : JSON.stringify(body),
  });
  const isJson = answer.headers.get('content-type')?.includes('json');
  const result = isJson ? await answer.json() : new Uint8Array(await answer.arrayBuffer());
  if (!answer.ok) throw new XrpcError(`${method} on ${host.name}: ${answer.status} ${JSON.stringify(result)}`);
  return result;
}

const now = () => new Date().toISOString();

export class Account {
  constructor(host, name) {
    this.host = host;
    this.name = name;
    this.handle = `${name}.test`;
    this.email = `${name}@mail.example.com`;
    this.password = `${name}'s password`;
  }

  static async create(host, name) {
    const account = new Account(host, name);
    const { handle, email, password } = account;
    const made = await xrpc(host, 'com.atproto.server.createAccount', { body: { handle, email, password } });
    account.did = made.did;
    account.token = made.accessJwt;
    return account;
  }

  call(method, options = {}) {
    return xrpc(this.host, method, { token: this.token, ...options });
  }

  async create(collection, record) {
    const body = { repo: this.did, collection, record: { $type: collection, createdAt: now(), ...record } };
    const { uri, cid } = await this.call('com.atproto.repo.createRecord', { body });
    return { uri, cid, collection, rkey: uri.split('/').at(-1) };
  }

  post(text, more = {}) {
    return this.create('app.bsky.feed.post', { text, ...more });
  }

  like({ uri, cid }) {
    return this.create('app.bsky.feed.like', { subject: { uri, cid } });
  }

  /** Makes or edits the profile. */
  profile(displayName) {
    const collection = 'app.bsky.actor.profile';
    const record = { $type: collection, displayName };
    const body = { repo: this.did, collection, rkey: 'self', record };
    return this.call('com.atproto.repo.putRecord', { body });
  }

  /** Edits a record in place. */
  put({ collection, rkey }, record) {
    const body = { repo: this.did, collection, rkey, record: { $type: collection, createdAt: now(), ...record } };
    return this.call('com.atproto.repo.putRecord', { body });
  }

  delete({ collection, rkey }) {
    return this.call('com.atproto.repo.deleteRecord', { body: { repo: this.did, collection, rkey } });
  }

  /** Several writes in one commit. */
  writeTogether(writes) {
    return this.call('com.atproto.repo.applyWrites', { body: { repo: this.did, writes } });
  }

  async rename(name) {
    await this.call('com.atproto.identity.updateHandle', { body: { handle: `${name}.test` } });
    this.handle = `${name}.test`;
  }

  deactivate() {
    return this.call('com.atproto.server.deactivateAccount', { body: {} });
  }

  activate() {
    return this.call('com.atproto.server.activateAccount', { body: null });
  }

  async deleteForGood() {
    await this.call('com.atproto.server.requestAccountDelete', { body: null });
    const { did, password } = this;
    const token = this.host.mailedCode(this.email);
    await xrpc(this.host, 'com.atproto.server.deleteAccount', { body: { did, password, token } });
    this.handle = undefined;
  }

  /** Makes the account on another host, inactive, with this repo in it. */
  async copyTo(host) {
    const { token: serviceAuth } = await this.call('com.atproto.server.getServiceAuth', {
      params: { aud: host.pds.ctx.cfg.service.did, lxm: 'com.atproto.server.createAccount' },
    });
    const { did, handle, email, password } = this;
    const made = await xrpc(host, 'com.atproto.server.createAccount', {
      body: { did, handle, email, password }, token: serviceAuth,
    });
    const copy = Object.assign(new Account(host, this.name), { did, handle, token: made.accessJwt });
    const repo = await xrpc(this.host, 'com.atproto.sync.getRepo', { params: { did } });
    await copy.call('com.atproto.repo.importRepo', { body: repo, type: 'application/vnd.ipld.car' });
    return copy;
  }

  /** Has this host sign the operation that hands the identity to `copy`'s host, and submits it there. */
  async handIdentityTo(copy) {
    const credentials = await copy.call('com.atproto.identity.getRecommendedDidCredentials');
    await this.call('com.atproto.identity.requestPlcOperationSignature', { body: null });
    const { operation } = await this.call('com.atproto.identity.signPlcOperation', {
      body: { token: this.host.mailedCode(this.email), ...credentials },
    });
    await copy.call('com.atproto.identity.submitPlcOperation', { body: { operation } });
  }
}
