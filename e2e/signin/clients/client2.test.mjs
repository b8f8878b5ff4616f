// @modelcontextprotocol/client 2.x: the sign-in of 2026-07-28.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Client, StreamableHTTPClientTransport, UnauthorizedError, auth } from '@modelcontextprotocol/client';
import { Host } from './host.mjs';
import { assertRefused, browse, documentURL, mcpURL, restart, revoke } from './lib.mjs';

for (const pin of ['2026-07-28', '2025-11-25']) {
  const pinned = () => new Client({ name: 'e2e-client2', version: '1.0.0' }, { versionNegotiation: { mode: pin === '2026-07-28' ? { pin } : 'legacy' } });
  const says = async (client, name) => assert.equal((await client.callTool({ name: 'whoami', arguments: {} })).content[0].text, `You are ${name}.`);

  test(`${pin}: the transport signs in, goes on after kill -9, refreshes by itself and learns of a revocation`, async () => {
    const host = new Host();
    const refused = new StreamableHTTPClientTransport(mcpURL, { authProvider: host });
    await assert.rejects(pinned().connect(refused), UnauthorizedError);
    const back = await browse(host.sentTo);
    host.checkState(back);
    await refused.finishAuth(back.searchParams);

    const client = pinned();
    await client.connect(new StreamableHTTPClientTransport(mcpURL, { authProvider: host }));
    await says(client, 'alice');
    await restart();
    await says(client, 'alice');

    const before = host.tokens();
    await revoke(before.access_token, host.client.client_id);
    await says(client, 'alice'); // 401, refresh, and again
    const after = host.tokens();
    assert.notEqual(after.access_token, before.access_token);
    assert.notEqual(after.refresh_token, before.refresh_token);
    assert.equal(await auth(host, { serverUrl: mcpURL }), 'AUTHORIZED', 'a refresh that the host asks for');

    const last = host.tokens();
    await revoke(last.refresh_token, host.client.client_id);
    await assertRefused(last.access_token);
    host.sentTo = undefined;
    await assert.rejects(says(client, 'alice'), UnauthorizedError);
    assert.ok(host.sentTo, 'and the person is asked anew');
    await client.close();
  });
}

const start = () => new Client({ name: 'e2e-client2', version: '1.0.0' });

test('an answer that names another issuer is not redeemed', async () => {
  const host = new Host();
  const transport = new StreamableHTTPClientTransport(mcpURL, { authProvider: host });
  await assert.rejects(start().connect(transport), UnauthorizedError);
  const back = await browse(host.sentTo);
  assert.equal(back.searchParams.get('iss'), new URL(mcpURL).origin);
  back.searchParams.set('iss', 'https://elsewhere.example');
  await assert.rejects(transport.finishAuth(back.searchParams), /iss/i);
  assert.equal(host.tokens(), undefined);
});

// What only the fixture has: a tool that needs another scope.
if (documentURL) {
  test('a tool that needs more than was allowed makes it ask for that as well', async () => {
    const host = new Host();
    const refused = new StreamableHTTPClientTransport(mcpURL, { authProvider: host });
    await assert.rejects(start().connect(refused), UnauthorizedError);
    await refused.finishAuth((await browse(host.sentTo)).searchParams);
    assert.equal(host.tokens().scope, 'read');
    const client = start();
    const transport = new StreamableHTTPClientTransport(mcpURL, { authProvider: host });
    await client.connect(transport);
    await assert.rejects(client.callTool({ name: 'send', arguments: { to: 'bob' } }), UnauthorizedError);
    assert.deepEqual(host.sentTo.searchParams.get('scope').split(' ').sort(), ['read', 'write']);
    await transport.finishAuth((await browse(host.sentTo)).searchParams);
    assert.equal((await client.callTool({ name: 'send', arguments: { to: 'bob' } })).content[0].text, 'Sent to bob.');
    await client.close();
  });
}
