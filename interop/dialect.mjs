// A front before a reference PDS that says the same in another dialect: frames
// which are legal to read and that no strict client would accept as they are.
// What Cistern makes of them must be what the PDS itself wrote, seq apart.

import http from 'node:http';
import WebSocket, { WebSocketServer } from 'ws';
import { joinArray, joinMap, makeHead, splitArray, splitFrame, splitPairs } from './frame.mjs';

const NULL = Buffer.from([0xf6]);

const reversed = (pairs) => [...pairs].reverse();
const without = (pairs, ...keys) => pairs.filter(([key]) => !keys.includes(key));
const withValue = (pairs, key, change) => pairs.map(([k, v]) => [k, k === key ? change(v) : v]);
const write = (header, body) => Buffer.concat([joinMap(header), joinMap(body)]);

/** Each takes a frame's header and body pairs and writes them its own way. */
export const DIALECTS = {
  'body keys unsorted': ({ header, body }) => write(header, reversed(body)),
  'header keys unsorted': ({ header, body }) => write(reversed(header), body),
  'deprecated fields absent': ({ header, body }) => write(header, without(body, 'rebase', 'tooBig', 'blobs')),
  'seq in eight bytes': ({ header, body }) =>
    write(header, withValue(body, 'seq', (v) => makeHead(0, numberOf(v), 8))),
  'body map indefinite': ({ header, body }) => Buffer.concat([
    joinMap(header), Buffer.from([0xbf]), joinMap(body).subarray(1), Buffer.from([0xff]),
  ]),
  'absent prevData and prev as null': ({ header, body }) => write(header, nullPrevs(body)),
};

function numberOf(value) {
  if (value.length === 1) return value[0];
  return value.subarray(1).reduce((n, byte) => n * 256 + byte, 0);
}

function nullPrevs(body) {
  if (!body.some(([key]) => key === 'ops')) return body;
  const ops = withValue(body, 'ops', (value) => joinArray(splitArray(value).map((item) => {
    const op = splitPairs(item);
    return joinMap(op.some(([key]) => key === 'prev') ? op : [...op, ['prev', NULL]]);
  })));
  return ops.some(([key]) => key === 'prevData') ? ops : [...ops, ['prevData', NULL]];
}

export class DialectFront {
  /** How many frames went out in each dialect. */
  spoken = Object.fromEntries(Object.keys(DIALECTS).map((name) => [name, 0]));

  #chosen = new Map();

  constructor(origin) {
    this.origin = origin;
  }

  async listen() {
    this.server = http.createServer((req, res) => this.#pass(req, res));
    this.sockets = new WebSocketServer({ noServer: true });
    this.server.on('upgrade', (req, socket, rest) => {
      this.sockets.handleUpgrade(req, socket, rest, (down) => this.#speak(req, down));
    });
    await new Promise((resolve) => this.server.listen(0, resolve));
    this.url = `http://localhost:${this.server.address().port}`;
    return this.url;
  }

  #pass(req, res) {
    const { method, headers } = req;
    const up = http.request(this.origin + req.url, { method, headers }, (answer) => {
      res.writeHead(answer.statusCode, answer.headers);
      answer.pipe(res);
    });
    up.on('error', (err) => res.writeHead(502).end(String(err)));
    req.pipe(up);
  }

  #speak(req, down) {
    const up = new WebSocket(this.origin.replace('http', 'ws') + req.url);
    up.on('message', (bytes, binary) => down.send(this.#translate(bytes), { binary }));
    up.on('close', () => down.close());
    up.on('error', () => down.terminate());
    down.on('close', () => up.terminate());
    down.on('error', () => up.terminate());
  }

  // Of the dialects that change the frame, the one spoken least; the same again when the frame is sent again.
  #translate(bytes) {
    const parts = splitFrame(bytes);
    const seq = numberOf(parts.body.find(([key]) => key === 'seq')[1]);
    const changing = Object.keys(DIALECTS).filter((name) => !DIALECTS[name](parts).equals(bytes));
    changing.sort((a, b) => this.spoken[a] - this.spoken[b]);
    const name = this.#chosen.get(seq) ?? changing[0];
    this.#chosen.set(seq, name);
    this.spoken[name]++;
    return DIALECTS[name](parts);
  }

  async close() {
    for (const socket of this.sockets.clients) socket.terminate();
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
  }
}
