// Every cursor that there is yields exactly the rest of the log.

import { FrameReader } from './reader.mjs';
import { until } from './wait.mjs';

/** `events`: the whole log as it was read live. */
export async function checkEveryCursor(claims, service, events) {
  const wrong = [];
  // The last cursor is the tip, from which nothing can be waited for.
  for (let i = 0; i < events.length - 1; i++) {
    const cursor = events[i].fact.seq;
    const want = events.slice(i + 1).map((event) => event.line);
    const reader = new FrameReader(service, { cursor });
    await until(`the rest of the log from ${cursor}`, () => reader.events.length >= want.length);
    reader.close();
    const got = reader.events.map((event) => event.line);
    if (got.join('\n') !== want.join('\n') || reader.errors.length > 0) wrong.push(cursor);
  }
  claims.sameList(`each of the ${events.length - 1} cursors yields exactly the rest of the log`, wrong, []);
}
