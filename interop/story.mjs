// What people do on the hosts, and what each host must say because of it.
// Every act waits until its host has said so and the audience has heard it, so
// that the order of things across hosts is the story's order.

import { Account } from './account.mjs';
import { dropped } from './ledger.mjs';

const POST = 'app.bsky.feed.post';
const LIKE = 'app.bsky.feed.like';
const PROFILE = 'app.bsky.actor.profile';

const BORN = ['identity', 'account active', 'commit', 'sync'];
const WOKEN = ['account active', 'identity', 'sync'];

export class Story {
  /** Waits until the audience has heard all that the ledger has; the run sets it. */
  arrived = async () => {};
  people = {};

  constructor(hosts, ledger, claims) {
    this.hosts = hosts;
    this.ledger = ledger;
    this.claims = claims;
  }

  /** Each account's handle now, by DID; undefined for one that is gone. */
  handles() {
    return new Map(Object.values(this.people).map((person) => [person.did, person.handle]));
  }

  async #born(name, host) {
    const person = await Account.create(this.hosts[host], name);
    this.people[name] = person;
    await this.ledger.record(person, BORN);
    await this.arrived();
    this.claims.ok(`${name} joins host ${host}`, true);
  }

  /** One act of `person`, which makes its host say `wanted`. */
  async #act(what, person, act, wanted) {
    const result = await act();
    await this.ledger.record(person, wanted);
    await this.arrived();
    this.claims.ok(what, true);
    return result;
  }

  async firstPart() {
    await this.#joining();
    await this.#writing();
    await this.#handles();
    await this.#pausing();
    await this.#moving();
    await this.#leaving();
  }

  async #joining() {
    const homes = { alice: 'one', bob: 'one', dan: 'two', eve: 'two', frank: 'dialect', grace: 'dialect' };
    for (const [name, host] of Object.entries(homes)) await this.#born(name, host);
  }

  async #writing() {
    const { alice, bob, dan, frank, grace } = this.people;
    const act = this.#act.bind(this);
    const first = await act('alice posts', alice, () => alice.post('First light.'), [`commit create ${POST}`]);
    const second = await act('alice posts again', alice, () => alice.post('Second thoughts.'), [`commit create ${POST}`]);
    const like = await act('bob likes it', bob, () => bob.like(first), [`commit create ${LIKE}`]);
    await act('dan posts from the other host', dan, () => dan.post('Grüße 👋'), [`commit create ${POST}`]);
    await act('alice makes a profile', alice, () => alice.profile('Alice'), [`commit create ${PROFILE}`]);
    await act('alice edits it', alice, () => alice.profile('Alice Liddell'), [`commit update ${PROFILE}`]);
    await act('alice edits a post', alice, () => alice.put(second, { text: 'Third thoughts.' }), [`commit update ${POST}`]);
    await act('bob takes the like back', bob, () => bob.delete(like), [`commit delete ${LIKE}`]);
    await act('alice deletes a post', alice, () => alice.delete(first), [`commit delete ${POST}`]);
    await act('dan writes three things in one commit', dan, () => dan.writeTogether(threeWrites()),
      [`commit create ${POST} create ${POST} create ${PROFILE}`]);
    await this.#dialects(frank, grace);
  }

  /** Enough on the host with the dialects for each of them to be spoken about every kind of commit. */
  async #dialects(...people) {
    for (const person of people) {
      const act = (what, deed, wanted) => this.#act(`${person.name}, in dialect, ${what}`, person, deed, wanted);
      const post = await act('posts', () => person.post('Salut!'), [`commit create ${POST}`]);
      for (let i = 1; i <= 3; i++) {
        await act('edits', () => person.put(post, { text: `Salut, ${i} !` }), [`commit update ${POST}`]);
      }
      await act('deletes', () => person.delete(post), [`commit delete ${POST}`]);
    }
  }

  async #handles() {
    const { bob, frank } = this.people;
    await this.#act('bob changes his handle', bob, () => bob.rename('robert'), ['identity']);
    await this.#act('frank, in dialect, changes his', frank, () => frank.rename('francis'), ['identity']);
  }

  async #pausing() {
    const { dan, grace } = this.people;
    for (const person of [dan, grace]) {
      const { name } = person;
      await this.#act(`${name} deactivates`, person, () => person.deactivate(), ['account deactivated']);
      await this.#act(`${name} comes back`, person, () => person.activate(), WOKEN);
      await this.#act(`${name} posts again`, person, () => person.post('Back.'), [`commit create ${POST}`]);
    }
  }

  async #moving() {
    const old = this.people.alice;
    const act = this.#act.bind(this);
    const alice = await act('alice prepares to move to host two: no host says anything yet', old,
      () => old.copyTo(this.hosts.two), []);
    await act('the directory is told, and host two says so', alice, () => old.handIdentityTo(alice), ['identity']);
    // The reference PDS gives the imported commit a rev of its own in this one #sync, which
    // so differs from the rev that is signed; that is to be refused.
    await act('alice is active on host two; a #sync that does not fit its commit is not passed on', alice,
      () => alice.activate(), ['account active', 'identity', dropped('sync')]);
    this.people.alice = alice;
    await act('alice posts on host two', alice, () => alice.post('New walls.'), [`commit create ${POST}`]);
    await act('a forgotten app still posts on host one: not passed on', old,
      () => old.post('Anybody here?'), [dropped(`commit create ${POST}`)]);
    await act('alice deactivates on host one: not passed on', old, () => old.deactivate(),
      [dropped('account deactivated')]);
    // Said on the same connection after the two above: once heard, they have been decided on.
    const { bob } = this.people;
    await act('bob posts on host one', bob, () => bob.post('Alice has moved.'), [`commit create ${POST}`]);
    await act('alice posts again', alice, () => alice.post('Settled.'), [`commit create ${POST}`]);
  }

  async #leaving() {
    const { eve } = this.people;
    await this.#act('eve posts', eve, () => eve.post('So long.'), [`commit create ${POST}`]);
    await this.#act('eve deletes her account', eve, () => eve.deleteForGood(), ['account deleted']);
  }

  /** What happens while Cistern is stopped. */
  async whileDown() {
    const { bob, dan, frank } = this.people;
    const act = this.#act.bind(this);
    await act('bob posts', bob, () => bob.post('Is it on?'), [`commit create ${POST}`]);
    await act('dan changes his handle', dan, () => dan.rename('daniel'), ['identity']);
    await act('frank, in dialect, posts', frank, () => frank.post('Allô ?'), [`commit create ${POST}`]);
  }

  async secondPart() {
    const { alice, bob, dan, frank, grace } = this.people;
    const act = this.#act.bind(this);
    await act('alice edits her profile', alice, () => alice.profile('Alice, moved'), [`commit update ${PROFILE}`]);
    await act('bob changes his handle back', bob, () => bob.rename('bob'), ['identity']);
    const post = await act('dan posts', dan, () => dan.post('Once more.'), [`commit create ${POST}`]);
    await act('dan deletes it', dan, () => dan.delete(post), [`commit delete ${POST}`]);
    await act('frank, in dialect, deletes his account', frank, () => frank.deleteForGood(), ['account deleted']);
    await act('grace, in dialect, posts', grace, () => grace.post('Bonne nuit.'), [`commit create ${POST}`]);
  }

  /** What happens once the archive is all that is left of the log. */
  async afterTheLoss() {
    const { alice, bob, grace } = this.people;
    const act = this.#act.bind(this);
    const post = await act('alice posts', alice, () => alice.post('Still here.'), [`commit create ${POST}`]);
    await act('bob likes it', bob, () => bob.like(post), [`commit create ${LIKE}`]);
    await act('grace, in dialect, posts', grace, () => grace.post('Encore.'), [`commit create ${POST}`]);
  }
}

function threeWrites() {
  const createdAt = new Date().toISOString();
  const create = (collection, value, rkey) => ({
    $type: 'com.atproto.repo.applyWrites#create', collection, ...(rkey && { rkey }),
    value: { $type: collection, ...value },
  });
  return [
    create(POST, { text: 'One.', createdAt }),
    create(POST, { text: 'Two.', createdAt }),
    create(PROFILE, { displayName: 'Dan' }, 'self'),
  ];
}
