// Every cursor that there is yields exactly the rest of the log.

import { FrameReader } from './reader.mjs';
import { replayed } from './suppression.mjs';
import { until } from './wait.mjs';

/** `events`: the whole log as it was read live. */
export async function checkEveryCursor(claims, service, events) {
  const wrong = [];
  for (const { fact: { seq: cursor } } of events) {
    const want = replayed(events, cursor, events.length).map((event) => event.line);
    if (want.length === 0) continue; // nothing can be waited for
    const reader = new FrameReader(service, { cursor });
    await until(`the rest of the log from ${cursor}`, () => reader.events.length >= want.length);
    reader.close();
    const got = reader.events.map((event) => event.line);
    if (got.join('\n') !== want.join('\n') || reader.errors.length > 0) wrong.push(cursor);
  }
  claims.sameList(`each of the ${events.length} cursors yields exactly the rest of the log`, wrong, []);
}
