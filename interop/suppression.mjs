// What a relay does not replay: commits and syncs of accounts that are not active.

/** The DIDs of the accounts that are not active after these events, read in order. */
export function inactive(events) {
  const out = new Set();
  for (const { fact } of events) {
    if (fact.kind !== 'account') continue;
    if (fact.active) out.delete(fact.did);
    else out.add(fact.did);
  }
  return out;
}

/**
 * What someone who connects at `cursor` must get: of what was there by then (`upTo` events),
 * what is not suppressed, and everything that came later.
 */
export function replayed(events, cursor, upTo) {
  const hidden = inactive(events.slice(0, upTo));
  return events.filter(({ fact }, i) => {
    if (fact.seq <= cursor) return false;
    return i >= upTo || !hidden.has(fact.did) || fact.kind === 'account' || fact.kind === 'identity';
  });
}
