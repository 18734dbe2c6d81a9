// The truth: what the hosts' own streams said, in the order in which the
// script's actions made them say it, and which of it the rules drop.

import { spliceSeq } from './frame.mjs';
import { fingerprint, summary } from './facts.mjs';
import { until } from './wait.mjs';

/** An event that a host says and that must not be passed on. */
export const dropped = (summarised) => ({ dropped: summarised });

export class Ledger {
  /** What a relay must pass on, per account: DID → [{bytes, fact, name, handle}]. */
  kept = new Map();
  /** What it must not, because a rule of verification says so. */
  dropped = [];
  #taken = new Map();

  constructor(hosts) {
    this.hosts = hosts;
  }

  /** All events to be passed on, over all accounts. */
  count() {
    return [...this.kept.values()].reduce((n, events) => n + events.length, 0);
  }

  /**
   * Waits until `account`'s host has said exactly `wanted` about it since the
   * last call, and enters that. An item is what summary() makes of an event,
   * within dropped() if the rules keep it from being passed on.
   */
  async record(account, wanted) {
    const { host, did, handle, name } = account;
    const key = `${host.name} ${did}`;
    const from = this.#taken.get(key) ?? 0;
    const mine = () => host.record.events.filter((event) => event.fact.did === did).slice(from);
    const said = () => mine().map((event) => summary(event.fact)).join(', ');
    const want = wanted.map((item) => item.dropped ?? item).join(', ');
    await until(`${host.name} to say about ${account.name}: ${want}`,
      () => mine().length >= wanted.length, { state: () => `It said: ${said()}` });
    if (said() !== want) throw new Error(`${host.name} said of ${account.name}: ${said()}; not: ${want}`);
    const events = mine().map((event) => ({ ...event, handle, name }));
    this.#taken.set(key, from + events.length);
    for (const [i, event] of events.entries()) {
      if (wanted[i].dropped) this.dropped.push(event);
      else this.kept.set(did, [...(this.kept.get(did) ?? []), event]);
    }
  }

  /**
   * Asserts that `events`, read from the first on, are the truth: per account
   * the hosts' frames in the hosts' order, each byte the host's but for seq.
   */
  check(claims, name, events) {
    for (const [did, truth] of this.kept) {
      const served = events.filter((event) => event.fact.did === did);
      const want = truth.map((event, i) => {
        const seq = served[i]?.fact.seq ?? 0;
        return fingerprint(spliceSeq(event.bytes, seq), { ...event.fact, seq });
      });
      claims.sameList(`${name}: ${truth[0].name}'s ${truth.length} frames are the host's, byte for byte but for seq, in order`,
        served.map((event) => event.line), want);
    }
    const strangers = events.filter((event) => !this.kept.has(event.fact.did));
    claims.sameList(`${name}: nothing else was served`, strangers.map((event) => summary(event.fact)), []);
  }

  /** The handle that the account of an #identity had when its host wrote it. */
  handleThen(fact) {
    const events = this.kept.get(fact.did) ?? [];
    return events.find(({ fact: f }) => f.kind === 'identity' && f.time === fact.time)?.handle;
  }

  /** The hosts' events that no action accounts for; there should be none. */
  unexplained() {
    return Object.values(this.hosts).flatMap((host) => {
      const seen = new Map();
      return host.record.facts().filter((fact) => {
        const n = (seen.get(fact.did) ?? 0) + 1;
        seen.set(fact.did, n);
        return n > (this.#taken.get(`${host.name} ${fact.did}`) ?? 0);
      });
    });
  }
}
