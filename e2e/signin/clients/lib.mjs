// What the client tests share: where the server is, a person at a browser and a plug to
// pull (both of the Go test that runs this), and calls that use a token by hand.
import assert from 'node:assert/strict';

export const base = process.env.CAUSEWAY_TEST_URL;
assert.ok(base && process.env.CAUSEWAY_TEST_CONTROL, 'set by the Go test that runs this');
export const mcpURL = new URL('/mcp', base);
/** The client's metadata document, if it has one; else it registers. */
export const documentURL = process.env.CAUSEWAY_TEST_DOCUMENT;
export const clientName = documentURL ? 'A client with a document' : 'e2e client';
/** Where the client waits for the answer. Nothing listens there: the person says where they were sent. */
export const redirectURI = documentURL ? 'http://127.0.0.1:45123/callback' : 'http://localhost:45123/callback';

async function control(path, ask = {}) {
  const response = await fetch(process.env.CAUSEWAY_TEST_CONTROL + path, { method: 'POST', body: JSON.stringify(ask) });
  const text = await response.text();
  assert.equal(response.status, 200, `${path}: ${text}`);
  return text && JSON.parse(text);
}

/** A person opens the address and answers every page. Gives the address of the client they are sent to. */
export async function browse(url, { name = 'alice', deny = false } = {}) {
  return new URL((await control('/browse', { url: String(url), name, deny })).url);
}

/** kill -9, and the server starts again on what is on disk. */
export const restart = () => control('/restart');

/** Calls whoami, as the server's 2026-07-28 wants it. */
export function whoami(token) {
  return fetch(mcpURL, {
    method: 'POST',
    headers: {
      'Content-Type': 'application/json', Accept: 'application/json, text/event-stream',
      'MCP-Protocol-Version': '2026-07-28', 'Mcp-Method': 'tools/call', 'Mcp-Name': 'whoami',
      ...(token && { Authorization: `Bearer ${token}` }),
    },
    body: JSON.stringify({
      jsonrpc: '2.0', id: 1, method: 'tools/call',
      params: { name: 'whoami', arguments: {}, _meta: { 'io.modelcontextprotocol/protocolVersion': '2026-07-28', 'io.modelcontextprotocol/clientCapabilities': {} } },
    }),
  });
}

export async function assertIs(name, token) {
  const response = await whoami(token);
  const text = await response.text();
  assert.equal(response.status, 200, text);
  assert.match(text, new RegExp(`You are ${name}\\.`));
}

export async function assertRefused(token) {
  const response = await whoami(token);
  assert.equal(response.status, 401, await response.text());
  const challenge = response.headers.get('WWW-Authenticate');
  assert.match(challenge, /^Bearer /);
  assert.match(challenge, /resource_metadata="/);
  if (token) assert.match(challenge, /error="invalid_token"/);
}

/** Ends one token by RFC 7009: an access token itself, a refresh token all that was allowed. */
export async function revoke(token, clientID) {
  const response = await fetch(new URL('/revoke', base), { method: 'POST', body: new URLSearchParams({ token, client_id: clientID }) });
  assert.equal(response.status, 200, await response.text());
}
