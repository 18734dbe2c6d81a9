// The pages, in a real Chromium: that they are live, that buttons decide, that they are read
// on a phone and in the dark, and that a stranger sees nothing.

import fs from 'node:fs';
import path from 'node:path';
import { chromium } from 'playwright-core';

const executablePath = process.env.CHROMIUM ?? '/usr/bin/chromium';

/** A browser that looks at a relay's pages, each in a context of its own, and notes their complaints. */
async function browse(url, pictures) {
  const browser = await chromium.launch({ executablePath, args: ['--no-sandbox'] });
  const open = async (options, target) => {
    const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
    const page = await context.newPage();
    const complaints = [];
    page.on('console', (m) => m.type() === 'error' && complaints.push(m.text()));
    page.on('pageerror', (err) => complaints.push(String(err)));
    page.on('request', (r) => !r.url().startsWith(url) && !r.url().startsWith('data:') && complaints.push(`it asks ${r.url()}`));
    const answer = await page.goto(url + target);
    if (answer.status() !== 200) throw new Error(`${target}: ${answer.status()}`);
    return { page, complaints, context };
  };
  const picture = async (page, name) => {
    if (!pictures) return;
    fs.mkdirSync(pictures, { recursive: true });
    await page.screenshot({ path: path.join(pictures, `${name}.png`), fullPage: !/phone|mirror/.test(name) });
  };
  return { open, picture, close: () => browser.close() };
}

const fits = (page) => page.evaluate(() => document.documentElement.scrollWidth <= document.documentElement.clientWidth);
const loggedIn = ({ user, password }) => ({ httpCredentials: { username: user, password } });

/** What the operator of a mirror sees of the relay that it follows. */
export async function lookAtMirror(claims, url, relay, admin, pictures) {
  claims.chapter('the mirror\'s page');
  const { open, picture, close } = await browse(url, pictures);
  try {
    const { page, complaints } = await open(loggedIn(admin), '/admin/');
    await page.waitForSelector('#live.on');
    const row = '[data-part=relays] tbody tr';
    await page.waitForSelector(`${row} td:text-is("yes")`, { timeout: 20_000 });
    const cells = await page.$$eval(`${row} td`, (all) => all.map((td) => td.textContent));
    claims.ok('the relay has a row: its name, connected, the last number', cells[0] === relay && Number(cells[4].replaceAll(/\D/g, '')) > 0, cells);
    const was = cells[4];
    await page.waitForFunction(([of, old]) => document.querySelectorAll(of)[4].textContent !== old, [`${row} td`, was], { timeout: 30_000 });
    claims.ok('the row is live', true);
    claims.sameList('it complains of nothing, and asks nobody else', complaints, []);
    claims.ok('it fits its width', await fits(page));
    await picture(page, 'mirror-light');
  } finally {
    await close();
  }
}

export async function lookAtPages(claims, url, { user, password }, pictures) {
  claims.chapter('the pages');
  const { open, picture, close } = await browse(url, pictures);
  try {
    const credentials = loggedIn({ user, password });

    const front = await open({}, '/');
    const tip = () => front.page.textContent('#tip');
    const before = await tip();
    await front.page.waitForFunction((was) => document.getElementById('tip').textContent !== was, before, { timeout: 20_000 });
    await front.page.waitForFunction(() => Number(document.getElementById('rate').textContent) > 1, null, { timeout: 20_000 });
    claims.ok('the front page counts on, and has a rate', true);
    claims.sameList('it complains of nothing, and asks nobody else', front.complaints, []);
    await picture(front.page, 'front-light');
    await front.context.close();

    const stranger = await fetch(`${url}/admin/`);
    claims.ok('without the password the operator’s page is 401', stranger.status === 401, stranger.status);
    const foreign = await fetch(`${url}/admin/repo/takeDown`, {
      method: 'POST', body: '{"did":"did:plc:aaaaaaaaaaaaaaaaaaaaaaab"}',
      headers: { Authorization: `Basic ${btoa(`${user}:${password}`)}`, Origin: 'https://evil.example', 'Sec-Fetch-Site': 'cross-site' },
    });
    claims.ok('another site’s page cannot decide with a remembered password', foreign.status === 403, foreign.status);

    const { page, complaints } = await open(credentials, '/admin/');
    await page.waitForSelector('#live.on');
    const value = (name) => page.textContent(`[data-live="${name}"]`);
    const was = await value('tip');
    await page.waitForFunction((old) => document.querySelector('[data-live="tip"]').textContent !== old, was);
    claims.ok('the operator’s page is live', true);
    claims.ok('curves are drawn', await page.$eval('.spark .line', (p) => p.getAttribute('d').length > 20));
    claims.ok('every host has a row', (await page.$$('[data-part=hosts] tbody tr')).length === 8);

    page.on('dialog', (d) => d.accept(d.type() === 'prompt' ? '7' : undefined));
    const first = await page.textContent('[data-part=hosts] tbody tr td.name');
    const row = (name) => `[data-part=hosts] tbody tr:has(td.name:text-is("${name}"))`;
    await page.click(`${row(first)} button[data-do=block]`);
    await page.waitForSelector(`${row(first)} .badge.banned`);
    claims.ok('a button blocks a host', true);
    await page.click(`${row(first)} button[data-do=unblock]`);
    await page.waitForSelector(`${row(first)} .badge:not(.banned)`);
    claims.ok('and takes that back', true);
    await page.fill('[data-form=takedown] input', 'did:plc:aaaaaaaaaaaaaaaaaaaaaaaa');
    await page.click('[data-form=takedown] button');
    await page.waitForSelector('[data-part=decisions] code:text-is("did:plc:aaaaaaaaaaaaaaaaaaaaaaaa")');
    claims.ok('a form takes an account down', true);
    await page.fill('[data-part=hosts] input[type=search]', first);
    await page.press('[data-part=hosts] input[type=search]', 'Enter');
    await page.waitForSelector('[data-part=hosts] .note:has-text("1 of 8")');
    claims.ok('a search finds one host', (await page.$$('[data-part=hosts] tbody tr')).length === 1);
    await page.goto(`${url}/admin/`);
    await page.waitForSelector('#live.on');
    await page.waitForSelector('.heat td.l5, .heat td.l4', { timeout: 70_000 });
    await page.waitForTimeout(4000); // for a curve that is worth a picture
    claims.sameList('it complains of nothing, and asks nobody else', complaints, []);
    claims.ok('it fits its width', await fits(page));
    await picture(page, 'operator-light');

    for (const [name, options] of Object.entries({
      'operator-dark': { colorScheme: 'dark' },
      'operator-phone': { viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true },
    })) {
      const one = await open({ ...credentials, ...options }, '/admin/');
      await one.page.waitForSelector('#live.on');
      await one.page.waitForTimeout(2500);
      claims.ok(`${name}: it fits its width`, await fits(one.page));
      await picture(one.page, name);
      await one.context.close();
    }
  } finally {
    await close();
  }
}
