// What the browser tests share: one Chromium, a client program that waits for answers,
// another site, and the ways through the pages.
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { createServer } from 'node:http';
import { after } from 'node:test';
import { chromium } from 'playwright-core';

export const base = process.env.CAUSEWAY_TEST_URL;
assert.ok(base && process.env.CAUSEWAY_TEST_CHROMIUM, 'set by the Go test that runs this');

const browser = await chromium.launch({
  executablePath: process.env.CAUSEWAY_TEST_CHROMIUM,
  args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync', '--disable-dev-shm-usage'],
});
after(() => browser.close());

/** A person's browser that knows nothing yet. Its windows end with the test. */
export async function freshBrowser(t, options = {}) {
  const context = await browser.newContext(options);
  context.setDefaultTimeout(30_000);
  t.after(() => context.close());
  return context;
}

/** A web server that answers what pages says for a path. */
async function serve(t, host, pages) {
  const server = createServer((req, res) => {
    const body = pages(req);
    res.writeHead(body === undefined ? 404 : 200, { 'Content-Type': 'text/html; charset=utf-8' }).end(body);
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => new Promise((resolve) => { server.closeAllConnections(); server.close(resolve); }));
  return `http://${host}:${server.address().port}`;
}

/** A site that shows one page. localhost is another site than 127.0.0.1; another port of 127.0.0.1 is only another origin. */
export const site = (t, html, host = 'localhost') => serve(t, host, (req) => (req.url === '/' ? html : undefined));

/** A client program: it registers, and waits at its redirect URI. */
export async function newClient(t, name = 'Mail reader') {
  const url = await serve(t, '127.0.0.1', (req) => (req.url.startsWith('/cb?') ? '<title>The program has its answer</title>' : undefined));
  const redirect = `${url}/cb`;
  const registered = await fetch(`${base}/register`, {
    method: 'POST', headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ client_name: name, redirect_uris: [redirect], token_endpoint_auth_method: 'none' }),
  });
  assert.equal(registered.status, 201);
  const { client_id: id } = await registered.json();
  return {
    id, redirect,
    /** A new authorization request. */
    asks(more = {}) {
      const verifier = randomBytes(32).toString('base64url'), state = randomBytes(8).toString('hex');
      const query = new URLSearchParams({
        response_type: 'code', client_id: id, redirect_uri: redirect, state, resource: `${base}/mcp`, scope: 'read write',
        code_challenge: createHash('sha256').update(verifier).digest('base64url'), code_challenge_method: 'S256', ...more,
      });
      return { url: `${base}/authorize?${query}`, verifier, state };
    },
    /** What the answer in the browser's address is worth: tokens. */
    async redeems(ask, page) {
      const answer = this.answer(ask, page);
      assert.ok(answer.get('code'), `no code: ${answer}`);
      const response = await fetch(`${base}/token`, {
        method: 'POST',
        body: new URLSearchParams({ grant_type: 'authorization_code', client_id: id, code: answer.get('code'), code_verifier: ask.verifier, redirect_uri: redirect }),
      });
      const tokens = await response.json();
      assert.equal(response.status, 200, JSON.stringify(tokens));
      return tokens;
    },
    answer(ask, page) {
      const at = new URL(page.url());
      assert.equal(at.origin + at.pathname, redirect, 'the browser is at the client');
      assert.equal(at.searchParams.get('state'), ask.state);
      assert.equal(at.searchParams.get('iss'), base);
      return at.searchParams;
    },
  };
}

export const decide = (page, what) => page.locator(`button[name=decision][value=${what}]`).click();
export const onConsent = (page) => page.locator('button[name=decision][value=allow]').waitFor();
export const onQuestion = (page) => page.locator('input[name=name]').waitFor();

/** Says who they are. */
export async function signIn(page, name = 'alice') {
  await page.locator('input[name=name]').fill(name);
  await page.locator('form button').first().click();
}

/** All the way from an authorization request to the client. */
export async function allows(page, client, { name, remember, scope } = {}) {
  const ask = client.asks(scope ? { scope } : {});
  await page.goto(ask.url);
  if (remember) await page.locator('input[name=remember]').check();
  await decide(page, 'allow');
  await signIn(page, name);
  await page.waitForURL(`${client.redirect}?*`);
  return client.redeems(ask, page);
}

/** The status of a call with a token. */
export async function call(token) {
  const response = await fetch(`${base}/mcp`, {
    method: 'POST',
    headers: {
      Authorization: `Bearer ${token}`, 'Content-Type': 'application/json', Accept: 'application/json, text/event-stream',
      'MCP-Protocol-Version': '2026-07-28', 'Mcp-Method': 'tools/call', 'Mcp-Name': 'whoami',
    },
    body: JSON.stringify({
      jsonrpc: '2.0', id: 1, method: 'tools/call',
      params: { name: 'whoami', arguments: {}, _meta: { 'io.modelcontextprotocol/protocolVersion': '2026-07-28', 'io.modelcontextprotocol/clientCapabilities': {} } },
    }),
  });
  await response.text();
  return response.status;
}

/** The account page, signed in. */
export async function openAccount(page, name) {
  await page.goto(`${base}/account`);
  await signIn(page, name);
  await page.locator('button[name=signout]').waitFor();
}
