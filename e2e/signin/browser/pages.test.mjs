// Every page: no problem that axe finds, in the light and in the dark, and nothing to
// scroll sideways on a small phone.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import axe from 'axe-core';
import { allows, base, decide, freshBrowser, newClient, onConsent, onQuestion, openAccount, signIn } from './lib.mjs';

// As unwieldy as a name may be: one word of 60 letters, and markup.
const longName = 'Donaudampfschifffahrtselektrizitaetenhauptbetriebswerkbauunterbeamtengesellschaft <b>2</b>';

/** The pages, by way of what a person does. */
const pages = {
  async consent(page, client) {
    await page.goto(client.asks().url);
    await onConsent(page);
  },
  async login(page, client) {
    await pages.consent(page, client);
    await decide(page, 'allow');
    await onQuestion(page);
  },
  async 'question with a problem'(page, client) {
    await pages.login(page, client);
    await page.locator('input[name=name]').fill(' ');
    await page.locator('form button').first().click();
    await page.locator('[role=alert]').waitFor();
  },
  async 'account without anything'(page) { await openAccount(page, 'somebody new'); },
  async account(page, client) {
    const name = longName.slice(0, 100);
    await allows(page, client, { name });
    await allows(page, client, { name, scope: 'read' });
    await openAccount(page, name);
    assert.equal(await page.locator('button[name=revoke]').count(), 2);
  },
  async 'signed out'(page) {
    await openAccount(page, 'alice');
    await page.locator('button[name=signout]').click();
    await page.locator('button[name=signout]').waitFor({ state: 'detached' });
  },
  async error(page) {
    const response = await page.goto(`${base}/authorize?client_id=nobody&redirect_uri=https://evil.example/`);
    assert.equal(response.status(), 400);
  },
};

for (const [name, open] of Object.entries(pages)) {
  test(`${name}: axe finds nothing in the light and in the dark, and it fits 320 px`, async (t) => {
    const context = await freshBrowser(t, { viewport: { width: 320, height: 640 } });
    const page = await context.newPage();
    const complaints = [];
    page.on('console', (m) => { if (m.type() === 'error' && !/status of 4\d\d/.test(m.text())) complaints.push(m.text()); });
    page.on('pageerror', (e) => complaints.push(e.message));
    await open(page, await newClient(t, longName));
    assert.equal(await page.locator('b').count(), 0, 'a name is text');

    const { wide, tall } = await page.evaluate(() => ({ wide: document.scrollingElement.scrollWidth, tall: document.scrollingElement.scrollHeight }));
    assert.ok(wide <= 320, `${wide} px wide at 320`);
    assert.ok(tall > 100, 'there is a page');
    for (const button of await page.locator('button').all()) {
      const box = await button.boundingBox();
      assert.ok(box.height >= 24 && box.width >= 24, `a button of ${box.width} x ${box.height} px (WCAG 2.5.8)`);
    }

    await page.evaluate(axe.source); // past the CSP, which stays on
    const papers = new Set();
    for (const colorScheme of ['light', 'dark']) {
      await page.emulateMedia({ colorScheme });
      papers.add(await page.evaluate(() => getComputedStyle(document.body).backgroundColor));
      const { violations, passes } = await page.evaluate(() => globalThis.axe.run(document, {
        runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'],
      }));
      assert.deepEqual(violations.map((v) => `${v.id}: ${v.nodes.map((n) => n.html).join(' ')}`), [], colorScheme);
      assert.ok(passes.some((p) => p.id === 'color-contrast'), 'contrast was looked at');
      if (process.env.CAUSEWAY_TEST_PICTURES) {
        await page.screenshot({ path: `${process.env.CAUSEWAY_TEST_PICTURES}/${name.replaceAll(' ', '-')}-${colorScheme}.png`, fullPage: true });
      }
    }
    assert.equal(papers.size, 2, 'there is a dark one');
    assert.deepEqual(complaints, [], 'what the browser complained about');
  });
}

test('everything can be done with the keyboard', async (t) => {
  const page = await (await freshBrowser(t)).newPage();
  const client = await newClient(t);
  const ask = client.asks();
  await page.goto(ask.url);
  await onConsent(page);
  const focused = () => page.evaluate(() => ({ name: document.activeElement.name, value: document.activeElement.value, outline: getComputedStyle(document.activeElement).outlineStyle }));
  const tabTo = async (want) => {
    for (let i = 0; i < 10; i++) {
      await page.keyboard.press('Tab');
      const at = await focused();
      if (want(at)) { assert.notEqual(at.outline, 'none', 'the focus can be seen'); return; }
    }
    assert.fail('it cannot be reached by Tab');
  };
  await tabTo((at) => at.name === 'decision' && at.value === 'allow');
  await page.keyboard.press('Enter');
  await onQuestion(page);
  await tabTo((at) => at.name === 'name');
  await page.keyboard.press('Enter');
  await page.waitForURL(`${client.redirect}?*`);
  await client.redeems(ask, page);
});
