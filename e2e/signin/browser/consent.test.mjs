// What a person's browser makes of the pages: real cookies, SameSite, Sec-Fetch-*, CSP.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { allows, base, call, decide, freshBrowser, newClient, onConsent, onQuestion, openAccount, signIn, site } from './lib.mjs';

for (const javaScriptEnabled of [true, false]) {
  test(`a person allows, ${javaScriptEnabled ? 'with' : 'without'} JavaScript`, async (t) => {
    const context = await freshBrowser(t, { javaScriptEnabled });
    const page = await context.newPage();
    const client = await newClient(t);
    const ask = client.asks();
    await page.goto(ask.url);
    await onConsent(page);
    const shown = await page.locator('body').innerText();
    for (const words of ['Mail reader', '127.0.0.1', 'the letter box', 'read your letters', 'send letters in your name']) {
      assert.ok(shown.includes(words), `the page lacks ${words}:\n${shown}`);
    }
    await decide(page, 'allow');
    await signIn(page, 'alice');
    await page.waitForURL(`${client.redirect}?*`);
    const tokens = await client.redeems(ask, page);
    assert.equal(await call(tokens.access_token), 200);
    for (const cookie of await context.cookies(base)) {
      assert.ok(cookie.httpOnly, cookie.name);
      assert.equal(cookie.sameSite, 'Lax', cookie.name);
    }

    await openAccount(page, 'alice');
    assert.ok((await page.locator('body').innerText()).includes('Mail reader'));
    await page.locator('button[name=revoke]').first().click();
    await page.locator('button[name=revoke]').waitFor({ state: 'detached' });
    assert.equal(await call(tokens.access_token), 401, 'taken back is over at once');
    await page.locator('button[name=signout]').click();
    await page.locator('button[name=signout]').waitFor({ state: 'detached' });
    await page.goto(`${base}/account`);
    await onQuestion(page);
  });
}

test('a person denies: the client is told, and nothing is kept', async (t) => {
  const page = await (await freshBrowser(t)).newPage();
  const client = await newClient(t);
  const ask = client.asks();
  await page.goto(ask.url);
  await decide(page, 'deny');
  await page.waitForURL(`${client.redirect}?*`);
  const answer = client.answer(ask, page);
  assert.equal(answer.get('error'), 'access_denied');
  assert.equal(answer.get('code'), null);
  await openAccount(page, 'nobody yet');
  assert.equal(await page.locator('button[name=revoke]').count(), 0);
});

test('a consent is remembered only if asked for, only for an address that the person opened', async (t) => {
  const context = await freshBrowser(t);
  const page = await context.newPage();
  const client = await newClient(t);
  await allows(page, client, { name: 'rosa' });
  await page.goto(client.asks().url);
  await onConsent(page); // it was not asked for

  await allows(page, client, { name: 'rosa', remember: true });
  const ask = client.asks();
  await page.goto(ask.url);
  await onQuestion(page); // straight to signing in
  await signIn(page, 'rosa');
  await page.waitForURL(`${client.redirect}?*`);
  await client.redeems(ask, page);

  // A link on another site, and one that only another origin of the same site has.
  for (const host of ['localhost', '127.0.0.1']) {
    const link = client.asks();
    await page.goto(await site(t, `<a href="${link.url.replaceAll('&', '&amp;')}">Free kittens</a>`, host));
    await page.locator('a').click();
    await onConsent(page);
  }
  // Somebody else at this computer.
  await page.goto(client.asks().url);
  await signIn(page, 'somebody else');
  await onConsent(page);
  // And not once it was taken back.
  await openAccount(page, 'rosa');
  while (await page.locator('button[name=revoke]').count()) {
    const before = await page.locator('button[name=revoke]').count();
    await page.locator('button[name=revoke]').first().click();
    await page.waitForFunction((n) => document.querySelectorAll('button[name=revoke]').length < n, before);
  }
  await page.goto(client.asks().url);
  await signIn(page, 'rosa');
  await onConsent(page);
});

test('no page can be put in a frame', async (t) => {
  const context = await freshBrowser(t);
  const client = await newClient(t);
  const page = await context.newPage();
  for (const host of ['localhost', '127.0.0.1']) {
    for (const framed of [client.asks().url, `${base}/account`, `${base}/authorize?client_id=nobody`]) {
      await page.goto(await site(t, `<iframe src="${framed.replaceAll('&', '&amp;')}"></iframe>`, host));
      await page.waitForFunction(() => window.length === 1);
      await page.waitForLoadState('load');
      const frame = page.frames()[1];
      assert.match(frame.url(), /^chrome-error:/, `${framed} in a frame of ${host}`);
      assert.equal(await frame.locator('form').count(), 0);
    }
  }
});

/** Posts fields from a page elsewhere, as an attacker's script would. */
async function forge(context, t, host, action, fields) {
  const inputs = Object.entries(fields).map(([name, value]) => `<input name="${name}" value="${value}">`).join('');
  const page = await context.newPage();
  const answered = page.waitForResponse((r) => r.url() === action && r.request().method() === 'POST');
  await page.goto(await site(t, `<form method="post" action="${action}">${inputs}</form><script>document.forms[0].submit()</script>`, host));
  const status = (await answered).status();
  await page.waitForLoadState('load');
  const ended = page.url();
  await page.close();
  return { status, ended };
}

test('a form that another site posts is refused, even with the right handle', async (t) => {
  const context = await freshBrowser(t);
  const client = await newClient(t);
  const page = await context.newPage();
  const ask = client.asks();
  await page.goto(ask.url);
  await onConsent(page);
  const handle = await page.locator('input[name=handle]').inputValue();
  // From the port next door the browser even sends the cookie along (SameSite=Lax).
  for (const host of ['localhost', '127.0.0.1']) {
    const { status, ended } = await forge(context, t, host, `${base}/consent`, { handle, decision: 'allow', remember: 'yes' });
    assert.equal(status, 403, host);
    assert.equal(ended, `${base}/consent`, 'nobody was sent anywhere');
  }
  await decide(page, 'allow'); // and the page that was really shown still works
  await signIn(page, 'alice');
  await page.waitForURL(`${client.redirect}?*`);
  const tokens = await client.redeems(ask, page);

  await openAccount(page, 'alice');
  const proof = await page.locator('input[name=proof]').first().inputValue();
  const revoke = await page.locator('button[name=revoke]').first().getAttribute('value');
  for (const host of ['localhost', '127.0.0.1']) {
    assert.equal((await forge(context, t, host, `${base}/account`, { proof, revoke })).status, 403, host);
  }
  assert.equal(await call(tokens.access_token), 200, 'nothing was taken back');
});

test('two tabs, one after the other, are answered in any order', async (t) => {
  const context = await freshBrowser(t);
  const [mail, calendar] = [await newClient(t, 'Mail reader'), await newClient(t, 'Calendar')];
  const [a, b] = [await context.newPage(), await context.newPage()];
  const [askA, askB] = [mail.asks(), calendar.asks()];
  await a.goto(askA.url);
  await b.goto(askB.url);
  await decide(a, 'allow');
  await decide(b, 'allow');
  await signIn(b, 'bob');
  await signIn(a, 'alice');
  await a.waitForURL(`${mail.redirect}?*`);
  await b.waitForURL(`${calendar.redirect}?*`);
  await mail.redeems(askA, a);
  await calendar.redeems(askB, b);
});

test('tabs that a program opens at the same moment in a new browser all work', async (t) => {
  const context = await freshBrowser(t);
  const clients = await Promise.all(['Mail reader', 'Calendar', 'Notes'].map((name) => newClient(t, name)));
  const tabs = await Promise.all(clients.map(async (client) => ({ client, ask: client.asks(), page: await context.newPage() })));
  await Promise.all(tabs.map(({ page, ask }) => page.goto(ask.url)));
  for (const { page } of tabs) await decide(page, 'allow');
  for (const { page } of tabs) await signIn(page, 'alice');
  for (const { client, ask, page } of tabs) {
    await page.waitForURL(`${client.redirect}?*`);
    await client.redeems(ask, page);
  }
});

test('the back button shows the question anew, and gives no second answer', async (t) => {
  const context = await freshBrowser(t);
  const page = await context.newPage();
  const client = await newClient(t);
  const ask = client.asks();
  await page.goto(ask.url);
  const first = await page.locator('input[name=handle]').inputValue();
  await decide(page, 'allow');
  await onQuestion(page);
  await page.goBack();
  await onConsent(page);
  assert.notEqual(await page.locator('input[name=handle]').inputValue(), first, 'it came from the server, not from a cache');
  await decide(page, 'allow');
  const answered = page.waitForRequest((r) => r.url() === `${base}/callback` && r.method() === 'POST');
  await signIn(page, 'alice');
  const sent = (await answered).postData();
  await page.waitForURL(`${client.redirect}?*`);
  await client.redeems(ask, page);

  // Going back to the form and sending it again, as the browser offers.
  for (const [path, data] of [['/callback', sent], ['/consent', `handle=${encodeURIComponent(first)}&decision=allow`]]) {
    const again = await context.request.post(base + path, { data, headers: { 'Content-Type': 'application/x-www-form-urlencoded', Origin: base }, maxRedirects: 0 });
    assert.equal(again.status(), 400, path);
    assert.match(await again.text(), /Start it again|answered before/);
  }
  // All the way back there is a new question.
  await page.goto(ask.url);
  await onConsent(page);
});

test('an answer for another browser is not taken', async (t) => {
  const client = await newClient(t);
  const mallory = await (await freshBrowser(t)).newPage();
  await mallory.goto(client.asks().url);
  const handle = await mallory.locator('input[name=handle]').inputValue();
  const alice = await freshBrowser(t);
  const page = await alice.newPage();
  await page.goto(client.asks().url);
  await onConsent(page);
  // A page of this very server, in which the handle was exchanged for Mallory's.
  await page.locator('input[name=handle]').evaluate((input, value) => { input.value = value; }, handle);
  const answered = page.waitForResponse((r) => r.request().method() === 'POST');
  await decide(page, 'allow');
  assert.equal((await answered).status(), 400);
  await decide(mallory, 'allow'); // and it is still hers
  await onQuestion(mallory);
});
