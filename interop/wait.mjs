// Waiting on conditions. Whatever collects events calls changed(), and every
// pending until() looks at its condition again; nothing sleeps to wait.

import net from 'node:net';

const pending = new Set();

/** Tells every pending until() that something it may be waiting for happened. */
export function changed() {
  for (const look of [...pending]) look();
}

/**
 * Resolves with condition()'s value once that is truthy, and rejects after
 * `ms` milliseconds. `state` is asked for a line on where things stood then.
 */
export function until(what, condition, { ms = 180_000, state = () => '' } = {}) {
  return new Promise((resolve, reject) => {
    const done = (settle, value) => {
      clearTimeout(timer);
      pending.delete(look);
      settle(value);
    };
    const look = () => {
      try {
        const value = condition();
        if (value) done(resolve, value);
      } catch (err) {
        done(reject, err);
      }
    };
    const timer = setTimeout(
      () => done(reject, new Error(`waited ${ms / 1000} s for: ${what}. ${state()}`)), ms);
    pending.add(look);
    look();
  });
}

/**
 * Calls attempt() until it returns a truthy value, for things of another
 * process that can only be asked; an attempt that throws counts as "not yet".
 */
export async function poll(what, attempt, { ms = 180_000, every = 50 } = {}) {
  const deadline = performance.now() + ms;
  let last;
  for (;;) {
    try {
      const value = await attempt();
      if (value) return value;
    } catch (err) {
      last = err;
      if (err.fatal) throw err;
    }
    if (performance.now() > deadline) {
      throw new Error(`waited ${ms / 1000} s for: ${what}`, { cause: last });
    }
    await new Promise((resolve) => setTimeout(resolve, every));
  }
}

/** A port of the loopback that nobody listens on. */
export async function freePort() {
  const server = net.createServer();
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}
