// The plainest possible consumer of subscribeRepos: a WebSocket that keeps
// every frame as it came. It reads the hosts to learn the truth, and Cistern
// to see what became of it.

import WebSocket from 'ws';
import { factOfFrame, fingerprint } from './facts.mjs';
import { changed } from './wait.mjs';

const METHOD = '/xrpc/com.atproto.sync.subscribeRepos';

export class FrameReader {
  /** What arrived, in order: {bytes, fact, line}; two lines are the same only if the bytes are. */
  events = [];
  /** The code of each close that the server sent or the network made. */
  closes = [];
  errors = [];
  #socket;
  #retry;
  #done = false;

  /** `service`: http URL. `cursor`: where to begin; after a close it goes on from the last seq seen. */
  constructor(service, { cursor } = {}) {
    this.service = service;
    this.cursor = cursor;
    this.#open();
  }

  facts() {
    return this.events.map((event) => event.fact);
  }

  #open() {
    const url = new URL(METHOD, this.service.replace(/^http/, 'ws'));
    if (this.cursor !== undefined) url.searchParams.set('cursor', this.cursor);
    const socket = new WebSocket(url);
    this.#socket = socket;
    let opened = false;
    socket.on('open', () => { opened = true; });
    socket.on('message', (bytes, isBinary) => this.#keep(bytes, isBinary));
    // A refused connection is an error and then a close; the close is what counts.
    socket.on('error', (err) => { if (opened) this.errors.push(err); });
    socket.on('close', (code) => {
      if (opened && !this.#done) this.closes.push(code);
      if (!this.#done) this.#retry = setTimeout(() => this.#open(), 100);
      changed();
    });
  }

  #keep(bytes, isBinary) {
    try {
      if (!isBinary) throw new Error(`text message: ${bytes.toString('utf8')}`);
      const fact = factOfFrame(bytes);
      if (fact.seq === undefined) throw new Error(`no event: ${JSON.stringify(fact)}`);
      this.events.push({ bytes, fact, line: fingerprint(bytes, fact) });
      this.cursor = fact.seq;
    } catch (err) {
      this.errors.push(err);
    }
    changed();
  }

  close() {
    this.#done = true;
    clearTimeout(this.#retry);
    this.#socket.close();
  }
}
